"""AxBench's metrics, as pure functions on plain values.

Steering (Wu et al. 2025, §3.2). A generation's score is the harmonic mean of its three ratings:

    s = 3 / (1/concept + 1/relatedness + 1/fluency),   0 if any rating is 0

Per concept: mean s over the selection instructions at each factor → the factor with the largest
mean (ties → the smallest factor) → mean s over the test instructions at that factor. Then the mean
over concepts. Worked example: ratings (2, 1, 2) give 3 / (½ + 1 + ½) = 1.5.

A response with a missing rating is *unscored*: left out of the means, counted, and bounded by the
scores 0 and 2. The bounds hold for every way it could have come out, the choice of factor included:
a factor could have been chosen if its best selection mean reaches every factor's worst one (beats
it, where that factor is smaller); the lowest of the worst test means over those factors is the
lower bound, likewise the upper.

Detection: AUROC of a concept's positives against its negatives, hard negatives left out, and the
mean over concepts. Concepts are what the bootstrap resamples, in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.statistics import Floats, Statistic
from harness.statistics import auroc as weighted_auroc
from harness_axbench.ratings import NAMES

Item = Mapping[str, Any]
"""A generation: concept_id, factor, split (``select`` or ``test``), and ratings by name."""

SELECT, TEST = "select", "test"
LOWEST, HIGHEST = 0.0, 2.0


def harmonic_mean(ratings: Sequence[float | None]) -> float:
    """3 / Σ 1/r; 0 if any rating is 0, else NaN if any is missing.

    Example:
        >>> harmonic_mean([2, 1, 2])
        1.5
    """
    if any(rating == 0 for rating in ratings):
        return 0.0
    if any(rating is None for rating in ratings):
        return math.nan
    return len(ratings) / sum(1 / rating for rating in ratings if rating is not None)


def score(item: Item, fill: float = math.nan) -> float:
    """A generation's score; ``fill`` where missing ratings leave it open."""
    value = harmonic_mean([item[name] for name in NAMES])
    return fill if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _at(items: Sequence[Item], split: str, factor: float | None) -> list[Item]:
    return [item for item in items if item["split"] == split and item["factor"] == factor]


def chosen_factor(items: Sequence[Item]) -> float | None:
    """The factor of one concept that does best on the selection instructions, ties → smallest.

    Returns:
        None for a model without factors, NaN where nothing could be chosen.
    """
    factors = sorted({item["factor"] for item in items if item["factor"] is not None})
    if not factors:
        return None
    means = {f: _mean([score(item) for item in _at(items, SELECT, f)]) for f in factors}
    known = [factor for factor in factors if not math.isnan(means[factor])]
    return max(known, key=lambda factor: (means[factor], -factor)) if known else math.nan


def overall_of(items: Sequence[Item]) -> float:
    """One concept's score: the mean over the test instructions at its factor, or NaN."""
    return _mean([score(item) for item in _at(items, TEST, chosen_factor(items))])


def rating_of(name: str) -> Callable[[Sequence[Item]], float]:
    """A function to one concept's mean rating of a kind on test, at its factor."""

    def of(items: Sequence[Item]) -> float:
        chosen = _at(items, TEST, chosen_factor(items))
        return _mean([math.nan if item[name] is None else item[name] for item in chosen])

    return of


def factor_of(items: Sequence[Item]) -> float:
    """One concept's chosen factor; NaN for a model without factors, or without test rows there."""
    factor = chosen_factor(items)
    return math.nan if factor is None or not _at(items, TEST, factor) else factor


def bound_of(fill: float) -> Callable[[Sequence[Item]], float]:
    """A function to one concept's lower (fill 0) or upper (fill 2) bound over missing ratings."""

    def of(items: Sequence[Item]) -> float:
        values = []
        for factor in _possible(items):
            values.append(_mean([score(item, fill) for item in _at(items, TEST, factor)]))
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return math.nan
        return min(known) if fill == LOWEST else max(known)

    return of


def _possible(items: Sequence[Item]) -> list[float | None]:
    """Factors that some outcome of the missing ratings would have chosen, and the chosen one."""
    factors = sorted({item["factor"] for item in items if item["factor"] is not None})
    if not factors:
        return [None]
    worst, best = (
        {f: _mean([score(item, fill) for item in _at(items, SELECT, f)]) for f in factors}
        for fill in (LOWEST, HIGHEST)
    )
    chosen = chosen_factor(items)
    return [
        f
        for f in factors
        if f == chosen
        or (
            not any(best[f] < worst[g] or (g < f and best[f] == worst[g]) for g in factors)
            and not math.isnan(best[f])
        )
    ]


def auroc_of(items: Sequence[Item]) -> float:
    """One concept's AUROC, positives against negatives; NaN without either."""
    rows = [item for item in items if item["category"] in ("positive", "negative")]
    positive = np.array([item["category"] == "positive" for item in rows], dtype=bool)
    scores = np.array([item["score"] for item in rows], dtype=np.float64)
    if positive.all() or not positive.any():
        return math.nan
    return float(weighted_auroc(positive, scores, np.ones((1, len(rows))))[0])


def concept_mean(name: str, of: Callable[[Sequence[Item]], float]) -> Statistic:
    """The mean over concepts of a per-concept value, resampled by concept.

    Args:
        name: Name of the aggregation.
        of: One concept's items to its value; NaN leaves the concept out.
    """

    def weighted(items: Sequence[Item], weights: Floats) -> Floats:
        concepts: dict[Any, list[int]] = {}
        for place, item in enumerate(items):
            concepts.setdefault(item["concept_id"], []).append(place)
        values = np.array([of([items[i] for i in own]) for own in concepts.values()])
        counts = weights[:, [own[0] for own in concepts.values()]]  # equal within a concept
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Floats = counts[:, known] @ values[known] / counts[:, known].sum(1)
        return means

    return Statistic(f"{__name__}.{name}", weighted, unit=lambda item: item["concept_id"])


overall_score = concept_mean("overall_score", overall_of)
overall_score_ci95 = overall_score.ci95
overall_score_worst = concept_mean("overall_score_worst", bound_of(LOWEST))
overall_score_best = concept_mean("overall_score_best", bound_of(HIGHEST))
concept_score = concept_mean("concept_score", rating_of("concept"))
instruct_score = concept_mean("instruct_score", rating_of("relatedness"))
fluency_score = concept_mean("fluency_score", rating_of("fluency"))
factor = concept_mean("factor", factor_of)
auroc = concept_mean("auroc", auroc_of)
auroc_ci95 = auroc.ci95


def n_unscored(items: Sequence[Item]) -> int:
    """How many generations lack a rating."""
    return sum(any(item[name] is None for name in NAMES) for item in items)
