"""Settings within their range, or one clear line."""

from __future__ import annotations

from harness import HarnessError


def require(
    objective: str,
    name: str,
    value: float,
    low: float,
    high: float,
    *,
    without_low: bool = False,
    without_high: bool = False,
) -> None:
    """See that an objective's setting lies between two bounds, with or without the bounds.

    Raises:
        HarnessError: It does not, or is NaN.
    """
    above = value > low if without_low else value >= low
    below = value < high if without_high else value <= high
    if not (above and below):
        left, right = "<" if without_low else "≤", "<" if without_high else "≤"
        raise HarnessError(
            f"objective {objective}: {name}={value} is out of range; "
            f"needed is {low:g} {left} {name} {right} {high:g}"
        )
