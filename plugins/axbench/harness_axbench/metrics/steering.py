"""Steering metrics on rated generations (Wu et al. 2025, §3.2).

A generation's score is the harmonic mean of three ratings from 0 to 2:

    s = 3 / (1/concept + 1/relatedness + 1/fluency),   0 if any of them is 0

Where a concept is to be suppressed, 2 − concept takes the place of concept: a text is good if the
concept is absent and it is still fluent and on task.

Per concept: mean s over the selection instructions at each factor → the factor with the largest
mean (ties → the weakest factor) → mean s over the test instructions at that factor. Then the mean
over concepts. Methods without factors have test instructions only. Worked example: ratings
(2, 1, 2) give 3 / (½ + 1 + ½) = 1.5; under suppression they give 0.

A response with a missing rating is *unscored*: left out of the means, counted, and bounded by the
scores 0 and 2. The bounds hold for every way it could have come out, the choice of factor included:
a factor could have been chosen if its best selection mean reaches every factor's worst one (beats
it, where that factor is weaker); the lowest of the worst test means over those factors is the
lower bound, likewise the upper.

Not every response need be judged (``tasks.scopes``): an item with ``judged`` false is in no mean,
is not unscored, and is not filled. Only factors with the fewest unjudged selection responses can be
chosen, so that a factor that was given up early, on few responses, does not beat one that was
judged on all. The bounds are then over the ratings that are missing, given what was given up.

``win_rate`` compares each concept's score with that of another run: 1 if it is larger, ½ if equal,
0 if smaller. ``perplexity`` is of the generations under the unsteered model, averaged over the test
instructions at the chosen factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness_axbench.metrics.concept_mean import ConceptMean, ConceptValue, Item
from harness_axbench.metrics.ratings import CONCEPT, FLUENCY, NAMES, RELATEDNESS

SELECT, TEST = "select", "test"
LOWEST, HIGHEST = 0.0, 2.0
ABSENCE = "absence"
"""2 − concept; an item that has it is of a generation whose concept was to be suppressed."""
PERPLEXITY, BASELINE = "perplexity", "baseline"
JUDGED = "judged"
"""Whether the judge was asked about a generation; an item without it was judged."""


def harmonic_mean(ratings: Sequence[float | None]) -> float:
    """Number of ratings / Σ 1/rating; 0 if any rating is 0, else NaN if any is missing.

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
    """A generation's score; ``fill`` where missing ratings leave it open.

    Args:
        item: concept_id, factor, split (``select`` or ``test``), and ratings by name.
        fill: The score of an open one.
    """
    first = ABSENCE if ABSENCE in item else CONCEPT
    value = harmonic_mean([item[name] for name in (first, RELATEDNESS, FLUENCY)])
    return fill if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _at(items: Sequence[Item], split: str, factor: float | None) -> list[Item]:
    return [item for item in items if item["split"] == split and item["factor"] == factor]


def is_judged(item: Item) -> bool:
    """Whether the judge was asked about a generation."""
    return bool(item.get(JUDGED, True))


def _means(items: Sequence[Item], fill: float = math.nan) -> dict[float, float]:
    """Mean selection scores by factor, weakest first, of the factors that can be chosen."""
    own = {factor: _at(items, SELECT, factor) for factor in factors_in(items)}
    unjudged = {f: sum(not is_judged(item) for item in found) for f, found in own.items()}
    least = min((unjudged[f] for f, found in own.items() if found), default=0)
    return {
        factor: _mean([score(item, fill) for item in found if is_judged(item)])
        for factor, found in own.items()
        if unjudged[factor] <= least
    }


def factors_in(items: Sequence[Item]) -> list[float]:
    """The factors of some items, weakest first; none for a method without factors."""
    found = {item["factor"] for item in items if item["factor"] is not None}
    return sorted(found, key=lambda factor: (abs(factor), factor))


def chosen_factor(items: Sequence[Item]) -> float | None:
    """The factor of one concept that does best on the selection instructions, ties → weakest.

    Returns:
        None for a model without factors, NaN where nothing could be chosen.
    """
    if not factors_in(items):
        return None
    means = _means(items)
    known = [factor for factor in means if not math.isnan(means[factor])]
    return max(known, key=lambda factor: means[factor]) if known else math.nan  # first of equals


def chosen_items(items: Sequence[Item]) -> list[Item]:
    """One concept's test items at its factor: what its metrics are computed from.

    None where one of them was not judged: a part of them would be another figure.
    """
    found = _at(items, TEST, chosen_factor(items))
    return found if all(map(is_judged, found)) else []


def overall_of(items: Sequence[Item]) -> float:
    """One concept's score: the mean over the test instructions at its factor, or NaN."""
    return _mean([score(item) for item in chosen_items(items)])


def mean_of(name: str) -> ConceptValue:
    """A function to one concept's mean of a value (a rating, the perplexity) on its test items."""

    def of(items: Sequence[Item]) -> float:
        values = [item[name] for item in chosen_items(items)]
        return _mean([math.nan if value is None else value for value in values])

    return of


def factor_of(items: Sequence[Item]) -> float:
    """One concept's chosen factor; NaN for a model without factors, or without test rows there."""
    factor = chosen_factor(items)
    return math.nan if factor is None or not _at(items, TEST, factor) else factor


def win_of(items: Sequence[Item]) -> float:
    """1, ½ or 0 as one concept's score is above, at or below its ``baseline``; NaN without one."""
    own, other = overall_of(items), items[0][BASELINE]
    if other is None or math.isnan(own):
        return math.nan
    return 0.5 if math.isclose(own, other, abs_tol=1e-9) else float(own > other)


def bound_of(fill: float) -> Callable[[Sequence[Item]], float]:
    """A function to one concept's lower (fill 0) or upper (fill 2) bound over missing ratings."""

    def of(items: Sequence[Item]) -> float:
        values = []
        for factor in possible_factors(items):
            found = _at(items, TEST, factor)
            values.append(_mean([score(item, fill) for item in found if is_judged(item)]))
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return math.nan
        return min(known) if fill == LOWEST else max(known)

    return of


def possible_factors(items: Sequence[Item]) -> list[float | None]:
    """Factors that some outcome of the missing ratings would have chosen, and the chosen one."""
    if not factors_in(items):
        return [None]
    worst, best = (_means(items, fill) for fill in (LOWEST, HIGHEST))
    factors, chosen = list(best), chosen_factor(items)

    def could_win(place: int) -> bool:
        mine = best[factors[place]]
        weaker, rest = factors[:place], factors[place + 1 :]
        beaten = any(mine <= worst[f] for f in weaker) or any(mine < worst[f] for f in rest)
        return not beaten and not math.isnan(mine)

    return [f for place, f in enumerate(factors) if f == chosen or could_win(place)]


def comparable_items(items: Sequence[Item]) -> list[Item]:
    """One concept's items on the instructions that were judged at every factor.

    What factors may be compared by: all items, where all were judged.
    """
    lacking = {item.get("instruction") for item in items if not is_judged(item)}
    return [item for item in items if not lacking or item.get("instruction") not in lacking]


def _rated(name: str, of: ConceptValue) -> ConceptMean:
    return ConceptMean(f"{__name__}.{name}", of, bounds=(LOWEST, HIGHEST))


overall_score = _rated("overall_score", overall_of)
overall_score_ci95 = overall_score.ci95
overall_score_worst = _rated("overall_score_worst", bound_of(LOWEST))
overall_score_best = _rated("overall_score_best", bound_of(HIGHEST))
concept_score = _rated("concept_score", mean_of(CONCEPT))
absence_score = _rated("absence_score", mean_of(ABSENCE))
instruct_score = _rated("instruct_score", mean_of(RELATEDNESS))
fluency_score = _rated("fluency_score", mean_of(FLUENCY))
perplexity = ConceptMean(f"{__name__}.perplexity", mean_of(PERPLEXITY), bounds=(1.0, math.inf))
factor = ConceptMean(f"{__name__}.factor", factor_of, optional=True)
win_rate = ConceptMean(f"{__name__}.win_rate", win_of, bounds=(0.0, 1.0))
win_rate_ci95 = win_rate.ci95


def n_unscored(items: Sequence[Item]) -> int:
    """How many of the generations that were to be judged lack a rating."""
    return sum(is_judged(item) and any(item[name] is None for name in NAMES) for item in items)
