"""A share's Wilson interval, where there may be nothing to share."""

from __future__ import annotations

import math

from harness import wilson

Bounds = tuple[float, float]


def interval(part: int, n: int) -> Bounds:
    """The 95 % interval (low, high) of ``part`` of ``n``; NaN where n is 0."""
    return wilson(part, n) if n else (math.nan, math.nan)
