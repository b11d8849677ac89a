"""The mean over concepts of a per-concept value, with its interval: the form of AxBench's metrics.

    θ = 1/|C| Σ_c v(items of c),   C = the concepts where v is defined

The bootstrap resamples concepts, not rows: rows of a concept share its direction, its factor and
its threshold. Each concept's value is computed once and the resamples weigh those values.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness import Statistic
from harness.statistics import Bounds, Parts, mean_parts, weighted_mean

log = logging.getLogger(__name__)

Item = Mapping[str, Any]
"""What a metric knows of one row; has ``concept_id`` at least."""

ConceptValue = Callable[[Sequence[Item]], float]
"""One concept's items to its value; NaN leaves the concept out."""


class ConceptMean(Statistic):
    """An lm-eval aggregation: the mean over concepts; ``.ci95`` is the aggregation of its interval.

    Args:
        name: Dotted name, shown in saved configurations.
        of: The value of one concept.
        optional: Whether a run may have no concept with a value, and no word is said of it.
        bounds: The lowest and highest value of a concept.

    Example:
        >>> rows = [{"concept_id": c, "x": x} for c, x in [(0, 1.0), (0, 3.0), (1, 4.0)]]
        >>> ConceptMean("largest", lambda own: max(row["x"] for row in own))(rows)
        3.5
    """

    def __init__(
        self,
        name: str,
        of: ConceptValue,
        *,
        optional: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__(
            name,
            lambda values, weights: weighted_mean(np.array(values, dtype=np.float64), weights),
            bounds=bounds,
        )
        self._of, self._optional = of, optional

    def values(self, items: Sequence[Item]) -> dict[Any, float]:
        """Each concept's value, by concept id, in order of appearance."""
        concepts: dict[Any, list[Item]] = {}
        for item in items:
            concepts.setdefault(item["concept_id"], []).append(item)
        return {concept: self._of(own) for concept, own in concepts.items()}

    def __call__(self, items: Sequence[Item]) -> float:
        found = super().__call__(list(self.values(items).values()))
        if math.isnan(found) and not self._optional:
            log.warning(
                "%s: no concept has all the rows that it needs; for a small run take fewer "
                "concepts, --metadata axbench_concepts=[0], not --limit",
                self.name.rpartition(".")[2],
            )
        return found

    def size(self, items: Sequence[Item]) -> float:
        """Concepts that have a value."""
        return sum(not math.isnan(value) for value in self.values(items).values())

    def parts(self, items: Sequence[Item]) -> Parts:
        """Each concept's value, which are resampled."""
        found = self.values(items)
        values = np.array(list(found.values()), dtype=np.float64)
        return mean_parts(list(found), values)
