"""Rows of logits made safe for logarithms, and what counts where a logit is −∞.

A logit of −∞ (an id that a vocabulary lacks, a forbidden token) is put at −10,000: its probability
is exactly 0 in float32, and its logarithm is finite, so that no 0 · ∞ can make a NaN, in a loss or
in a gradient. A term that would be infinite because of such an id counts 0. What is NaN or +∞ stays
so: a loss that is not finite is the training's to stop at.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = -1e4  # a logit at or below it is taken as −∞
_TINY = 1e-37  # below every probability that float32 can tell from another


def floored(logits: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits [n, V] in float32 with a floor, and where they were below: [n, V], or None."""
    logits = logits.float()
    values = logits.detach()
    if not values.numel() or not bool(values.amin() <= FLOOR):
        return logits, None
    missing = values <= FLOOR
    return logits.masked_fill(missing, FLOOR), missing


def counted(values: Tensor, missing: Tensor | None) -> Tensor:
    """Values with 0 where an id is missing."""
    return values if missing is None else values.masked_fill(missing, 0)


def log_mixture(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """log(weight · first + (1 − weight) · second) of probabilities; finite where both underflow."""
    return (weight * first + (1 - weight) * second).clamp_min(_TINY).log()


def at(values: Tensor, labels: Tensor) -> Tensor:
    """The value at each row's label: [n]."""
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def divergence(probabilities: Tensor, log_ratio: Tensor) -> Tensor:
    """Σ_v probabilities · log_ratio: [n]."""
    return torch.sum(probabilities * log_ratio, dim=-1)
