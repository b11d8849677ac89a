r"""A model's own samples at temperature 1, the same in any batch.

Each row draws its tokens from its own random numbers by the Gumbel maximum (Gumbel 1954),

    x_t = argmax_v [ln p_t(v) − ln E_v],   E_v ~ Exp(1),

which is a sample of p_t. The numbers follow from the seed and the prompt, so that a row's answer
does not depend on its neighbours. Nothing else shapes the distribution: no top-k, no penalties.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList


class OwnNoise(LogitsProcessor):  # type: ignore[misc]  # transformers is skipped by mypy
    """Adds to each row's logits noise of its own, so that the largest is a sample.

    Args:
        seeds: One for each row.
        width: Ids from here on are never drawn.
    """

    def __init__(self, seeds: Sequence[int], width: int) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._width = width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The perturbed logits [rows, V] in float64."""
        noise = torch.full(scores.shape, -math.inf, dtype=torch.float64)
        for row, stream in zip(noise, self._streams, strict=True):
            drawn = torch.empty(min(self._width, len(row)), dtype=torch.float64)
            row[: len(drawn)] = -drawn.exponential_(generator=stream).log()
        return scores.double() + noise.to(scores.device)


def seed_of(seed: int, prompt: Sequence[int]) -> int:
    """The seed of one prompt's sample, below 2⁶³."""
    digest = hashlib.sha256(json.dumps([seed, list(prompt)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@torch.inference_mode()
def own_samples(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    length: int,
    ends: Collection[int],
    width: int,
    seed: int,
) -> list[list[int]]:
    """One answer to each prompt, its end token included.

    Args:
        model: A causal model of transformers.
        prompts: Token ids, at least one each.
        length: Tokens of an answer, at most.
        ends: Tokens that end one.
        width: The shared vocabulary: only ids below it are drawn.
        seed: Seed of the sampling.
    """
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = ids.clone()
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    plain = GenerationConfig(
        do_sample=False,
        max_new_tokens=length,
        eos_token_id=sorted(ends) or None,
        pad_token_id=0,
    )
    noise = OwnNoise([seed_of(seed, prompt) for prompt in prompts], width)
    own, model.generation_config = model.generation_config, plain
    try:  # what the call leaves open, transformers takes from the model's own configuration
        written = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=plain,
            logits_processor=LogitsProcessorList([noise]),
        )
    finally:
        model.generation_config = own
    return [_to_its_end(row, ends) for row in written[:, longest:].tolist()]


def _to_its_end(tokens: list[int], ends: Collection[int]) -> list[int]:
    for place, token in enumerate(tokens, start=1):
        if token in ends:
            return tokens[:place]
    return tokens
