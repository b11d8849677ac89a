"""AdamW without decay of norms and biases, and a cosine: learning rates told by the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def rate_at(step: int, total: int, peak: float, warmup: int = 0) -> float:
    """The learning rate of step 1 … total: up to the peak in a line, down to 0 in half a cosine.

    >>> [round(rate_at(step, 4, 1.0), 3) for step in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    if step <= warmup:
        return peak * step / warmup
    done = (step - 1 - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def optimiser_for(
    model: nn.Module, own: Iterable[nn.Parameter], *, rate: float, decay: float
) -> torch.optim.AdamW:
    """AdamW over what is trained, in torch's one pass over all tensors: a tenth of the loop's time.

    Args:
        model: Its parameters of two dimensions and more decay.
        own: The objective's parameters, which do not decay.
        rate: The first learning rate.
        decay: The weight decay.
    """
    alone = {id(parameter) for parameter in own}
    trained = [p for p in model.parameters() if p.requires_grad]
    decaying = [p for p in trained if p.ndim > 1 and id(p) not in alone]
    others = [p for p in trained if p.ndim <= 1 or id(p) in alone]
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)
