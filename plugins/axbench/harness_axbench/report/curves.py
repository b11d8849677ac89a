"""What the report draws, as plain numbers.

ROC. A concept's curve runs through the points (fpr, tpr) of every threshold, positives against
negatives. The mean curve is the mean over concepts of tpr at each fpr of a grid; a concept's curve
is read off between its points by straight lines, and at a vertical rise at its upper end.

Factor curves. At each factor the mean over concepts of the mean over a concept's instructions,
those for selection and those for test alike, or where not all was judged those that were judged at
every factor; the band is the 95 % bootstrap interval over concepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics import Bounds, Floats
from harness_axbench.metrics import (
    ABSENCE,
    NEGATIVE,
    POSITIVE,
    absence_score,
    auroc,
    chosen_items,
    concept_score,
    factor,
    factors_in,
    fluency_score,
    instruct_score,
    n_unscored,
    overall_score,
    score,
)
from harness_axbench.metrics.concept_mean import ConceptMean, Item
from harness_axbench.metrics.ratings import CONCEPT, FLUENCY, RELATEDNESS
from harness_axbench.metrics.steering import HIGHEST, LOWEST, comparable_items
from harness_axbench.report.reading import DETECTION, SUPPRESSION, Section, Series

GRID = np.linspace(0, 1, 101)
"""False positive rates at which mean ROC curves are taken."""

OVERALL = "overall"


@dataclass(frozen=True)
class Estimate:
    """A mean over concepts with its 95 % interval; NaN where there is none, as of few concepts."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Roc:
    """A method's ROC curves.

    Attributes:
        concepts: For each concept its points: fpr [n] and tpr [n].
        areas: For each concept the area under its curve.
        mean: tpr of the mean curve on ``GRID``.
    """

    concepts: Mapping[int, tuple[Floats, Floats]]
    areas: Mapping[int, float]
    mean: Floats


@dataclass(frozen=True)
class Standing:
    """A line of a comparison.

    Attributes:
        series: The method.
        headline: AUROC, or the overall score.
        values: The same of each concept.
        parts: Further means over concepts, by name.
        n_unscored: Generations without all their ratings; None for detection.
    """

    series: Series
    headline: Estimate
    values: Mapping[int, float]
    parts: Mapping[str, float]
    n_unscored: int | None

    @property
    def n_concepts(self) -> int:
        """Concepts that the headline is a mean of."""
        return sum(not math.isnan(value) for value in self.values.values())


def by_concept(items: Sequence[Item]) -> dict[int, list[Item]]:
    """Items by concept id, in order of appearance."""
    found: dict[int, list[Item]] = {}
    for item in items:
        found.setdefault(int(item["concept_id"]), []).append(item)
    return found


def roc(items: Sequence[Item]) -> Roc | None:
    """The ROC curves of some items; None where no concept has positives and negatives."""
    from sklearn.metrics import auc, roc_curve

    curves, areas = {}, {}
    for concept, own in by_concept(items).items():
        scored = [item for item in own if item["category"] in (POSITIVE, NEGATIVE)]
        labels = [item["category"] == POSITIVE for item in scored]
        if not scored or all(labels) or not any(labels):
            continue
        fpr, tpr, _ = roc_curve(labels, [item["score"] for item in scored])
        curves[concept] = (fpr, tpr)
        areas[concept] = float(auc(fpr, tpr))
    if not curves:
        return None
    mean = np.mean([_on_grid(fpr, tpr) for fpr, tpr in curves.values()], axis=0)
    return Roc(curves, areas, mean)


def _on_grid(fpr: Floats, tpr: Floats) -> Floats:
    """A curve's tpr at the grid's fpr, the upper one where it rises straight up."""
    last = np.searchsorted(fpr, GRID, side="right") - 1
    after = np.minimum(last + 1, len(fpr) - 1)
    run = fpr[after] - fpr[last]
    share = np.divide(GRID - fpr[last], run, out=np.zeros_like(GRID), where=run > 0)
    values: Floats = tpr[last] + share * (tpr[after] - tpr[last])
    return values


def kinds_of(section: Section) -> dict[str, str]:
    """The scores of a steering section: key of an item, or ``overall``, → name."""
    first = (ABSENCE, "absence") if section.family == SUPPRESSION else (CONCEPT, "concept")
    return dict([(OVERALL, "overall"), first, (RELATEDNESS, "instruction"), (FLUENCY, "fluency")])


def factor_curves(items: Sequence[Item], kinds: Sequence[str]) -> dict[str, list[Estimate]]:
    """For each kind of score an estimate at each of ``factors_in(items)``."""
    found: dict[str, list[Estimate]] = {kind: [] for kind in kinds}
    at_all = factors_in(items)
    items = [item for own in by_concept(items).values() for item in comparable_items(own)]
    for at in at_all:
        own = [item for item in items if item["factor"] == at]
        for kind in kinds:
            statistic = ConceptMean(kind, _mean_of(kind), bounds=(LOWEST, HIGHEST))
            found[kind].append(estimate(statistic, own))
    return found


def _mean_of(kind: str) -> Callable[[Sequence[Item]], float]:
    def of(items: Sequence[Item]) -> float:
        values = [score(item) if kind == OVERALL else item[kind] for item in items]
        known = [value for value in values if value is not None and not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    return of


def estimate(statistic: ConceptMean, items: Sequence[Item]) -> Estimate:
    """A mean over concepts of some items, with its interval."""
    return mean_of_values(statistic.values(items), statistic.bounds)


def mean_of_values(values: Mapping[int, float], bounds: Bounds | None) -> Estimate:
    """The mean of one value a concept, with its interval; NaN leaves a concept out."""
    items = [{"concept_id": concept, "value": value} for concept, value in values.items()]
    statistic = ConceptMean("value", lambda own: float(own[0]["value"]), bounds=bounds)
    return Estimate(statistic(items), *statistic.interval(items))


def standings(section: Section) -> list[Standing]:
    """The methods of a section, best first; those on a part of the data come last.

    Methods of which nothing is scored are left out.
    """
    make = _detecting if section.family == DETECTION else _steering
    found = [make(section, one) for one in section.series]
    known = [one for one in found if not math.isnan(one.headline.value)]
    return sorted(known, key=lambda one: (one.series.limited, -one.headline.value))


def _detecting(_section: Section, one: Series) -> Standing:
    values = auroc.values(one.items)
    return Standing(one, mean_of_values(values, auroc.bounds), values, {}, None)


def _steering(section: Section, one: Series) -> Standing:
    """A method's scores, each concept at the factor chosen for it."""
    concepts = by_concept(one.items)
    settled = [{**item, "factor": None} for own in concepts.values() for item in chosen_items(own)]
    values = dict.fromkeys(concepts, math.nan) | overall_score.values(settled)
    first = absence_score if section.family == SUPPRESSION else concept_score
    parts = [mean(settled) for mean in (first, instruct_score, fluency_score)]
    names = [*list(kinds_of(section).values())[1:], "factor"]
    parts.append(factor(one.items))
    named = dict(zip(names, parts, strict=True))
    headline = mean_of_values(values, overall_score.bounds)
    return Standing(one, headline, values, named, n_unscored(one.items))


def per_concept(section: Section, order: Sequence[Standing]) -> list[tuple[int, list[float]]]:
    """For each concept the headline of each method, concepts with the largest mean first.

    Args:
        section: The section.
        order: The methods, in the order of the columns.
    """
    rows = [(c, [one.values.get(c, math.nan) for one in order]) for c in section.concepts]

    def mean(row: tuple[int, list[float]]) -> float:
        known = [value for value in row[1] if not math.isnan(value)]
        return sum(known) / len(known) if known else -math.inf

    return sorted(rows, key=lambda row: (-mean(row), row[0]))
