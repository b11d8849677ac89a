"""What the training of the testbed's models has in common: batches, schedule, difficulty."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from harness.testbed.making.tokenizer import MAX_LENGTH, SPECIAL

SEED = 7

Item = tuple[list[int], list[float]]
"""Token ids of one training text, and the loss weight of each token."""
Batch = tuple[torch.Tensor, torch.Tensor]
"""Padded ids and weights, ``[batch, tokens]``."""
BatchSource = Callable[[int], Iterator[Batch]]
LossOf = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A long phase of training and a short one at a lower rate, each with warm-up and cosine decay.

    ``budget`` is the number of padded tokens a batch, ``texts`` the number of texts made at a time.
    """

    steps: int
    rate: float
    more_steps: int
    more_rate: float = 8e-4
    budget: int = 4096
    warmup: int = 60
    texts: int = 1500

    @property
    def total(self) -> int:
        """The steps of both phases."""
        return self.steps + self.more_steps


def weighted(tokenizer: PreTrainedTokenizerFast, parts: Sequence[tuple[str, float]]) -> Item:
    """The tokens of the parts of a text, each with its part's weight; <s> in front."""
    ids, weights = [SPECIAL.index("<s>")], [0.0]
    for text, weight in parts:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids += tokens
        weights += [weight] * len(tokens)
    return ids[:MAX_LENGTH], weights[:MAX_LENGTH]


def batches(items: list[Item], budget: int, rng: random.Random) -> Iterator[Batch]:
    """Padded (ids, weights) ``[batch, tokens]`` of similar lengths, in random order."""
    ordered = sorted(items, key=lambda item: len(item[0]) + rng.random())
    groups: list[list[Item]] = [[]]
    for item in ordered:
        if groups[-1] and len(item[0]) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(item)
    rng.shuffle(groups)
    for group in groups:
        width = max(len(ids) for ids, _ in group)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in group])
        weights = torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in group])
        yield ids, weights


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate: in each phase a linear warm-up, then a cosine down to 3 %."""
    steps, rate = recipe.steps, recipe.rate
    if step >= steps:
        step, steps, rate = step - steps, recipe.more_steps, recipe.more_rate
    if step < recipe.warmup:
        return rate * (step + 1) / recipe.warmup
    part = (step - recipe.warmup) / max(1, steps - recipe.warmup)
    return rate * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * part)))


def fit(model: PreTrainedModel, recipe: Recipe, source: BatchSource, loss_of: LossOf) -> None:
    """AdamW on the batches of ``source(step)``, round after round, for the recipe's steps."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    start, step, running = time.time(), 0, 0.0
    while step < recipe.total:
        for batch in source(step):
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, recipe)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            running = 0.95 * running + 0.05 * float(loss.detach()) if step else float(loss.detach())
            step += 1
            if step % 100 == 0 or step == recipe.total:
                sys.stderr.write(f"step {step}: loss {running:.4f}, {time.time() - start:.0f} s\n")
            if step == recipe.total:
                break


class Curriculum:
    """Raises the difficulty of the fact checks, 0 to 1, while the loss on them stays low."""

    def __init__(self) -> None:
        self.level = 0.0
        self.loss = 1.0

    def update(self, loss: float) -> None:
        """Take one batch's loss."""
        self.loss = 0.9 * self.loss + 0.1 * loss
        if self.loss < 0.25:
            self.level = min(1.0, self.level + 0.01)


def llama(
    tokenizer: PreTrainedTokenizerFast, hidden: int, inner: int, layers: int, heads: int
) -> LlamaConfig:
    """A configuration with tied embeddings and grouped keys."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
