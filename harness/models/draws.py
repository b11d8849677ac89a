"""Sampling whose draws belong to a request, not to the batch it happens to be in.

transformers draws the tokens of a batch from one global stream of random numbers, so that an answer
changes with the batch size, with the rows beside it, and after an interruption. Here every row has
its own stream u_1, u_2, …, seeded by what the row asks for, and token t is drawn by inversion:

    token_t = min { v : P(0) + … + P(v) > u_t },   P = softmax of the warped logits

The distribution is the same (temperature, top-k, top-p and min-p are transformers' own warpers).
Worked example: P = (0.2, 0.5, 0.3) and u = 0.6 give token 1, because 0.2 ≤ 0.6 < 0.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

# In the order of application: what a value makes, the value that does nothing, and the one that
# transformers takes where neither the call nor the model says.
_WARPERS: Mapping[str, tuple[Any, Any, Any]] = {
    "temperature": (TemperatureLogitsWarper, 1.0, 1.0),
    "top_k": (TopKLogitsWarper, 0, 50),
    "top_p": (TopPLogitsWarper, 1.0, 1.0),
    "min_p": (MinPLogitsWarper, None, None),
}
# What else transformers can do to a distribution, and the values that do nothing.
_OTHERS: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "typical_p": (None, 1.0),
    "top_h": (None,),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "penalty_alpha": (None, 0.0),
    "assistant_model": (None,),
    "guidance_scale": (None, 1.0),
}


class OwnDraws(LogitsProcessor):  # type: ignore[misc]  # transformers is skipped by mypy
    """Leaves of each row's logits only the token that the row's own stream draws.

    Args:
        warpers: Applied to the logits first.
        seeds: One for each row.
        prompt: Number of the prompt's tokens, padding included.
        steps: Tokens that can be drawn.
    """

    def __init__(
        self, warpers: LogitsProcessorList, seeds: Sequence[int], prompt: int, steps: int
    ) -> None:
        self._warpers, self._prompt = warpers, prompt
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._uniform = torch.stack(
            [torch.rand(steps, generator=stream, dtype=torch.float64) for stream in streams]
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The drawn token's logit is 0, every other −∞. [batch, vocabulary]."""
        warped = self._warpers(input_ids, scores.float())
        mass = warped.double().softmax(-1).cumsum(-1)
        step = input_ids.shape[1] - self._prompt
        uniform = self._uniform[:, step : step + 1].to(scores.device)
        token = torch.searchsorted(mass, uniform * mass[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def own_draws(
    config: GenerationConfig, kwargs: Mapping[str, Any], seeds: Sequence[int], prompt: int, end: int
) -> dict[str, Any] | None:
    """Generation arguments that draw by row what these would draw by batch.

    Args:
        config: The model's own generation settings, which fill in what is not given.
        kwargs: Generation arguments, of transformers' ``generate``.
        seeds: One for each row.
        prompt: Number of the prompt's tokens, padding included.
        end: Length at which generation ends.

    Returns:
        None where nothing is drawn, or in a way that is transformers' own (beams, contrastive, …).
    """

    def value(name: str, default: Any = None) -> Any:
        given = kwargs.get(name)
        own = getattr(config, name, None) if given is None else given
        return default if own is None else own

    if not value("do_sample") or any(value(name) not in idle for name, idle in _OTHERS.items()):
        return None
    warpers = LogitsProcessorList()
    for name, (kind, idle, default) in _WARPERS.items():
        if value(name, default) not in (None, idle):
            warpers.append(kind(value(name, default)))
    draws = OwnDraws(warpers, seeds, prompt, max(1, end - prompt))
    given = LogitsProcessorList([*(kwargs.get("logits_processor") or []), draws])
    return {**kwargs, **dict.fromkeys(_WARPERS), "do_sample": False, "logits_processor": given}
