"""Ratings: read from a judge's answer, averaged with an account of those that are missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.statistics import Mean, Statistic

_MARKER = "Rating:"
_NUMBER = r"[0-9]{0,9}\.?[0-9]{1,9}"
_RATING = re.compile(rf"({_NUMBER})(?:\s*/\s*({_NUMBER}))?")
_NO_BRACKETS = str.maketrans("", "", "[]")
_EDGES = " \t\r[]\"'“”‘’*"


def parse_rating(answer: str, lowest: float, highest: float) -> float | None:
    """The number on the line after ``Rating:``, or None.

    Brackets, quotes, asterisks and final dots around it are ignored; ``1.5`` is a number, and
    ``1/2`` is 1 where 2 is the highest rating. Anything else beside it makes the line no rating, so
    that no verdict is invented. An answer that gives two different ratings gives none: the other
    one may be quoted from what is judged, which may have been written to be quoted. The time is
    linear in the answer.

    Example:
        >>> parse_rating("Clear throughout. Rating: [[2]].", 0, 2)
        2.0
    """
    _, *parts = answer.split(_MARKER)
    lines = [(part.lstrip().partition("\n")[0].splitlines() or [""])[0] for part in parts]
    if not lines:
        return None
    found = _RATING.fullmatch(lines[-1].strip(_EDGES).rstrip(_EDGES + "."))
    if found is None or (found[2] is not None and float(found[2]) != highest):
        return None
    rating = float(found[1])
    begun = (_RATING.match(line.lstrip(_EDGES)) for line in lines)
    others = {float(one[1]) for one in begun if one} - {rating}
    return rating if lowest <= rating <= highest and not others else None


def reference_rating(answer: str, lowest: float, highest: float) -> float | None:
    """The same as AxBench's own evaluator reads it; it takes all else for the lowest rating.

    What follows the last ``Rating:``, to the end of its line, without brackets, final dots and then
    quotes and asterisks around it, is a Python number: ``1e0`` is one, ``1/2`` is none.
    """
    _, marker, rest = answer.rpartition(_MARKER)
    if not marker:
        return None
    line = rest.strip().split("\n")[0].strip().translate(_NO_BRACKETS).rstrip(".")
    for edge in ('"', "'", "*"):
        line = line.strip(edge)
    try:
        rating = float(line.strip())
    except ValueError:
        return None
    return rating if lowest <= rating <= highest else None


@dataclass(frozen=True)
class BoundedMean:
    """A mean with what unscored values could make of it."""

    mean: float
    worst: float
    best: float
    n_unscored: int


def bounded_mean(
    values: Sequence[float | None], *, lowest: float = 0.0, highest: float = 2.0
) -> BoundedMean:
    """The mean of the scored values; unscored ones bound it as ``lowest`` and ``highest``.

    Example:
        >>> bounded_mean([2.0, None, 1.0, None])
        BoundedMean(mean=1.5, worst=0.75, best=1.75, n_unscored=2)
    """
    return BoundedMean(
        scored_mean(values),
        filled_mean(lowest)(values),
        filled_mean(highest)(values),
        sum(value is None for value in values),
    )


def _filled(fill: float) -> Callable[[Any], float]:
    return lambda item: fill if item is None else float(item)


def filled_mean(fill: float) -> Statistic:
    """The mean with unscored values (None) counted as ``fill``, as an lm-eval aggregation."""
    return Mean(f"harness.judging.ratings.filled_mean({fill})", _filled(fill))


scored_mean = Mean("harness.judging.ratings.scored_mean", _filled(math.nan))
"""The mean over scored values; NaN when there is none."""
worst_mean = filled_mean(0.0)
"""The mean with unscored values counted as the lowest rating, 0."""
best_mean = filled_mean(2.0)
"""The mean with unscored values counted as the highest rating, 2."""


def count_unscored(flags: Sequence[object]) -> int:
    """Aggregation of ``n_unscored``: how many responses lack a rating."""
    return sum(bool(flag) for flag in flags)
