"""Student-generated outputs: exchanges whose response the student wrote itself.

Which exchanges a step trains on is the sampler's choice, made by a coin of the step:

* off: those of the data;
* mixed (Agarwal et al. 2024, arXiv 2306.13649, with a replay buffer): with probability 0.5 the
  student answers the batch's prompts, the answers go into a buffer of 1,000, and the step trains
  on as many exchanges drawn from the buffer; otherwise on the data;
* adaptive (DistiLLM, Ko et al. 2024, arXiv 2402.03898): the same with a probability φ that begins
  at 0 and rises by 0.1 whenever the validation loss has not fallen;
* on_policy: the student answers the prompts of every step, and the answers are trained on at once.

MiniLLM (Gu et al. 2024, arXiv 2306.08543) draws each token from α·p + (1 − α)·q, the teacher's and
the student's distributions, α = 0.2; ``mixed_with`` is that teacher.

Tokens are drawn at temperature 1 from all ids that student and teacher share. An answer follows
from the seed, the step and the process alone, so that a resumed training draws the same.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from harness.models.blocks import cache_name
from harness_taid.data.exchanges import Item
from harness_taid.network.students import bare

SAMPLERS = ("off", "mixed", "adaptive", "on_policy")
BUFFER = 1000
MIXED_SHARE = 0.5
RISE = 0.1


@dataclass
class Sampler:
    """Which steps train on the student's own outputs.

    Attributes:
        kind: One of ``SAMPLERS``.
        seed: Of the coins and the draws.
        share: Probability of a step on own outputs.
        last: The last validation loss, for ``adaptive``.
        buffer: The latest own outputs.
    """

    kind: str
    seed: int
    share: float = 0.0
    last: float | None = None
    buffer: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind in ("mixed", "on_policy"):
            self.share = MIXED_SHARE if self.kind == "mixed" else 1.0

    def generates(self, step: int) -> bool:
        """Whether a step trains on own outputs."""
        return random.Random(f"coin {self.seed} {step}").random() < self.share

    def drawn(self, step: int, made: Sequence[Item]) -> list[Item]:
        """What a step trains on, once the student has answered its prompts."""
        if self.kind == "on_policy":
            return list(made)
        self.buffer = [*self.buffer, *made][-BUFFER:]
        return random.Random(f"replay {self.seed} {step}").choices(self.buffer, k=len(made))

    def validated(self, loss: float) -> None:
        """Raise φ if the validation loss has not fallen."""
        if self.kind == "adaptive" and self.last is not None and loss >= self.last:
            self.share = min(1.0, round(self.share + RISE, 10))
        self.last = loss

    def state(self) -> dict[str, Any]:
        """What a resumed training needs beside the buffer, as JSON."""
        return {"share": self.share, "last": self.last}

    def tensors(self) -> dict[str, Tensor]:
        """The buffer; empty where there is none."""
        if not self.buffer:
            return {}
        return {
            "ids": torch.from_numpy(np.concatenate([item.ids for item in self.buffer])),
            "lengths": torch.tensor([len(item.ids) for item in self.buffer]),
            "prompts": torch.tensor([item.prompt for item in self.buffer]),
        }

    def resume(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` and ``tensors`` gave."""
        self.share, self.last = state["share"], state["last"]
        if tensors:
            parts = torch.split(tensors["ids"], tensors["lengths"].tolist())
            prompts = tensors["prompts"].tolist()
            self.buffer = [
                Item(ids.numpy().copy(), prompt) for ids, prompt in zip(parts, prompts, strict=True)
            ]


class Shared(LogitsProcessor):  # type: ignore[misc]  # transformers is skipped by mypy
    """Leaves the ids that are shared, and mixes a teacher's distribution in.

    Args:
        vocabulary: Ids from here on are never drawn.
        mask: Where the prompts' tokens are, [rows, tokens], padded on the left.
        teacher: Whose distribution is mixed in; None for none.
        alpha: Its weight.
    """

    def __init__(
        self, vocabulary: int, mask: Tensor, teacher: Any = None, alpha: float = 0.0
    ) -> None:
        self._vocabulary = vocabulary
        self._mask = mask
        self._teacher = teacher
        self._alpha = alpha
        self._cache: Any = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities [rows, V] to draw from."""
        own = scores[:, : self._vocabulary].float().log_softmax(-1)
        if self._teacher is not None:
            theirs = self._read(input_ids).log_softmax(-1)
            weights = torch.tensor([1 - self._alpha, self._alpha], device=own.device).log()
            own = torch.logaddexp(own + weights[0], theirs + weights[1])
        missing = scores.shape[-1] - own.shape[-1]
        return torch.nn.functional.pad(own, (0, missing), value=-torch.inf)

    def _read(self, ids: Tensor) -> Tensor:
        """The teacher's next logits [rows, vocabulary], of the tokens it has not read yet."""
        grown = ids.shape[1] - self._mask.shape[1]
        mask = torch.nn.functional.pad(self._mask, (0, grown), value=1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        new = ids if self._cache is None else ids[:, -1:]
        name = cache_name(self._teacher)
        out = self._teacher(
            input_ids=new,
            attention_mask=mask,
            position_ids=positions[:, -new.shape[1] :],
            use_cache=True,
            logits_to_keep=1,
            **{name: self._cache},
        )
        self._cache = out[name]
        return out.logits[:, -1, : self._vocabulary].float()  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes answers with a student.

    Attributes:
        student: A causal model of transformers, perhaps with an adapter.
        vocabulary: Ids that may be drawn are below.
        ends: Tokens that end an answer.
        pad: The padding token.
        response: Tokens of an answer, at most.
        total: Tokens of prompt and answer, at most.
        mixed_with: A teacher whose distribution is mixed in.
        alpha: Its weight.
    """

    student: Any
    vocabulary: int
    ends: Collection[int]
    pad: int
    response: int
    total: int
    mixed_with: Any = None
    alpha: float = 0.0

    @torch.no_grad()
    def answers(self, items: Sequence[Item], seed: int, *, greedy: bool = False) -> list[Item]:
        """The exchanges with the student's responses in place of theirs.

        Args:
            items: Whose prompts are answered, in one batch.
            seed: Of the draws.
            greedy: Take the most likely tokens instead.
        """
        if not items:
            return []
        width = max(item.prompt for item in items)
        ids = torch.full((len(items), width), self.pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, width - item.prompt :] = torch.from_numpy(item.ids[: item.prompt])
            mask[row, width - item.prompt :] = 1
        model = bare(self.student)
        written = self._generate(model, ids.to(model.device), mask.to(model.device), seed, greedy)
        return [
            self._item(item, row)
            for item, row in zip(items, written[:, width:].tolist(), strict=True)
        ]

    def _generate(self, model: Any, ids: Tensor, mask: Tensor, seed: int, greedy: bool) -> Tensor:
        room = min(self.response, self.total - ids.shape[1])
        plain = GenerationConfig(
            do_sample=not greedy,
            temperature=None if greedy else 1.0,
            top_k=None if greedy else 0,
            top_p=None if greedy else 1.0,
            max_new_tokens=max(1, room),
            eos_token_id=sorted(self.ends) or None,
            pad_token_id=self.pad,
        )
        shared = Shared(self.vocabulary, mask, self.mixed_with, self.alpha)
        own, training, checkpointing = (
            model.generation_config,
            model.training,
            getattr(model, "is_gradient_checkpointing", False),
        )
        model.generation_config = plain  # transformers fills what a call leaves open from it
        model.eval()
        if checkpointing:
            model.gradient_checkpointing_disable()
        devices = [model.device] if model.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)
                return model.generate(  # type: ignore[no-any-return]
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=plain,
                    logits_processor=LogitsProcessorList([shared]),
                )
        finally:
            model.generation_config = own
            if checkpointing:
                model.gradient_checkpointing_enable()
            model.train(training)

    def _item(self, item: Item, tokens: list[int]) -> Item:
        end = next((n for n, token in enumerate(tokens, 1) if token in self.ends), len(tokens))
        prompt = item.ids[: item.prompt]
        return Item(np.concatenate([prompt, np.array(tokens[:end], np.int32)]), item.prompt)
