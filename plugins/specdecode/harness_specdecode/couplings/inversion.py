"""Draws from weights by one uniform number: the id at which the running sum passes it.

>>> weights = torch.tensor([[2.0, 5.0, 3.0]], dtype=torch.float64)
>>> inverse_sample(weights, torch.tensor([0.65], dtype=torch.float64)).item()
1
"""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_sample(weights: Tensor, u: Tensor) -> Tensor:
    """Ids [B] drawn from weights [B, V] by inversion of their running sum."""
    return _inverse(weights.cumsum(-1), u.unsqueeze(-1)).squeeze(-1)


def inverse_is_near(weights: Tensor, u: Tensor, off: Tensor) -> Tensor:
    """Whether another id could be drawn by inversion from weights near by.

    A weight's relative error moves a part C of the whole by no more than that times min(C, 1 − C).

    Args:
        weights: [B, V].
        u: Uniform numbers [B].
        off: How far each weight may be off, relative to it [B].

    Returns:
        bool [B].
    """
    by = off * torch.minimum(u, 1 - u)
    ends = _inverse(weights.cumsum(-1), torch.stack([u - by, u + by], dim=-1).clamp(0, 1))
    return ends[:, 0] != ends[:, 1]


def _inverse(running: Tensor, u: Tensor) -> Tensor:
    """Ids [B, k] where running sums [B, V] pass shares u [B, k] of the whole."""
    total = running[:, -1:].contiguous()
    ids = torch.searchsorted(running, u * total, right=True)
    return torch.minimum(ids, torch.searchsorted(running, total))  # rounding may reach the total
