"""A concept's unit: max_act, the largest score of its texts, and where it comes from."""

from __future__ import annotations

import math

NOT_POSITIVE, MISSING = 50.0, 1.0


def max_act(value: float, source: str) -> tuple[float, str]:
    """A concept's unit and where it comes from, given its largest score."""
    if math.isinf(value):
        return MISSING, f"no text in {source}"
    return (value, source) if value > 0 else (NOT_POSITIVE, f"not positive in {source}")
