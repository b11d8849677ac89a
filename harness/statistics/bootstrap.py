r"""Aggregations that know their own standard error and 95 % interval.

lm-eval aggregates a list of per-document values to one number and knows a standard error only for
a fixed list of functions. A ``Statistic`` brings its own, by the non-parametric bootstrap:

    θ*_b = θ(items, w_b),   w_b ~ Multinomial(U; 1/U, …, 1/U),   b = 1 … B

over U resampling units (documents, or clusters of documents such as concepts), in one vectorised
call: a statistic takes weights [B, n] and returns B values. SE = std(θ*), interval = the 2.5 % and
97.5 % quantiles of θ* (Efron & Tibshirani 1993, ch. 6 and 13).

Where the resamples have no spread (every claim right), these quantiles are the value itself, as if
it were certain. A statistic with stated ``bounds`` [a, b] then has Wilson's interval for the share
(θ − a)/(b − a) of n units: no variable within the bounds varies more than such a share does. With
48 units all right it is 0.926 to 1. A statistic without bounds has no interval there, and none has
one of fewer than ``FEWEST`` units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.statistics.shares import Bounds, Floats, wilson

Weighted = Callable[[Sequence[Any], Floats], Floats]

RESAMPLES = 1000
FEWEST = 3
"""Resampling units below which there is no interval."""
_CHUNK_CELLS = 8_000_000


@dataclass(frozen=True)
class Parts:
    """A statistic of some items, by how often each of its resampling units is drawn.

    Args:
        units: Names of the units [U]; None where each item is one, in the order of the items.
        of: The statistic [B] by how often each unit is drawn [B, U].
        values: Where the statistic is the mean of one value a unit: those values [U], NaN of a unit
            that has none.
    """

    units: Sequence[Hashable] | None
    of: Callable[[Floats], Floats]
    values: Floats | None = None


def mean_parts(units: Sequence[Hashable] | None, values: Floats) -> Parts:
    """The mean of one value a unit.

    Args:
        units: Names of the units [U], or None.
        values: Their values [U]; NaN of a unit that has none and is left out.
    """
    return Parts(units, lambda counts: weighted_mean(values, counts), values)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """The mean [B] of values [n], without NaN, for each row of weights [B, n]; NaN of none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = weights[:, known] @ values[known] / weights[:, known].sum(1)
    return means


class Statistic:
    """An lm-eval aggregation with a standard error; ``.ci95`` is the aggregation of its interval.

    Args:
        name: Dotted name, shown in saved configurations.
        weighted: The statistic: (items of length n, weights [B, n]) → values [B]; NaN where a
            resample leaves it undefined.
        unit: Which cluster an item belongs to; by default each item is its own.
        resamples: Number of bootstrap resamples B.
        seed: Seed of the resampling.
        bounds: The lowest and highest value that the statistic can have; infinite if there is none.
        size: Independent units that a value rests on, where the resampling units count unequally;
            the n of Wilson's interval, and what ``FEWEST`` is held against.

    Example:
        >>> average = Statistic("average", lambda items, w: w @ np.array(items) / w.sum(1))
        >>> average([0.0, 1.0])
        0.5
    """

    def __init__(
        self,
        name: str,
        weighted: Weighted,
        *,
        unit: Callable[[Any], Hashable] | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
        bounds: Bounds | None = None,
        size: Callable[[Sequence[Any]], float] | None = None,
    ) -> None:
        self.name = name
        self.bounds = bounds
        self._size = size
        self._weighted = weighted
        self._unit = unit
        self._resamples = resamples
        self._seed = seed
        self.ci95 = Interval(self)

    def __repr__(self) -> str:
        return self.name

    def __call__(self, items: Sequence[Any]) -> float:
        return float(self._weighted(items, np.ones((1, len(items))))[0])

    def replicates(self, items: Sequence[Any]) -> Floats:
        """Bootstrap values of the statistic, at most B: undefined ones are left out.

        Fewer than two resampling units give none, as one unit varies with nothing.
        """
        parts = self.parts(items)
        units = len(items if parts.units is None else parts.units)
        if units < 2:
            return np.empty(0)
        draws = self.draws(units, cells=len(items))
        values = np.concatenate([parts.of(drawn) for drawn in draws])
        known: Floats = values[~np.isnan(values)]
        return known

    def parts(self, items: Sequence[Any]) -> Parts:
        """The statistic by how often each unit is drawn; two runs are compared by it."""
        if self._unit is None:
            return Parts(None, lambda counts: self._weighted(items, counts))
        labels = [self._unit(item) for item in items]
        index = {label: k for k, label in enumerate(sorted(set(labels), key=str))}
        unit_of = np.array([index[label] for label in labels], dtype=np.intp)
        return Parts(list(index), lambda counts: self._weighted(items, counts[:, unit_of]))

    def _labels(self, items: Sequence[Any]) -> Sequence[Hashable]:
        return range(len(items)) if self._unit is None else [self._unit(i) for i in items]

    def size(self, items: Sequence[Any]) -> float:
        """Independent units that the value rests on."""
        return len(set(self._labels(items))) if self._size is None else self._size(items)

    def draws(self, units: int, *, cells: int) -> Iterator[Floats]:
        """How often each of the units is drawn in each of the B resamples.

        Args:
            units: Number U of resampling units.
            cells: Numbers that a resample takes to compute; the parts are cut to bound the memory.

        Yields:
            Counts [b, U], in all B rows.
        """
        rng = np.random.default_rng(self._seed)
        rows = max(1, _CHUNK_CELLS // max(1, cells))
        for start in range(0, self._resamples, rows):
            size = min(rows, self._resamples - start)
            yield rng.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)

    def stderr(self, items: Sequence[Any]) -> float:
        """Bootstrap standard error; NaN with fewer than two resampling units."""
        values = self.replicates(items)
        return float(values.std(ddof=1)) if len(values) > 1 else math.nan

    def interval(self, items: Sequence[Any]) -> Bounds:
        """95 % interval (low, high), within the bounds; NaN where there is none."""
        n = self.size(items)
        values = self.replicates(items) if n >= FEWEST else np.empty(0)
        if len(values) < 2:
            return math.nan, math.nan
        low, high = (float(bound) for bound in np.quantile(values, [0.025, 0.975]))
        spread = high - low > 1e-9 * max(1.0, abs(high))
        return (low, high) if spread else self._without_spread(low, n)

    def _without_spread(self, value: float, n: float) -> Bounds:
        if self.bounds is None or not all(map(math.isfinite, self.bounds)):
            return math.nan, math.nan
        lowest, width = self.bounds[0], self.bounds[1] - self.bounds[0]
        share = min(1.0, max(0.0, (value - lowest) / width))
        low, high = (lowest + width * bound for bound in wilson(share * n, n))
        return low, high


class Mean(Statistic):
    """The mean of one value an item.

    Args:
        name: Dotted name, shown in saved configurations.
        of: An item's value; NaN leaves it out.
        bounds: The lowest and highest value.
    """

    def __init__(
        self, name: str, of: Callable[[Any], float], *, bounds: Bounds | None = None
    ) -> None:
        super().__init__(
            name,
            lambda items, weights: weighted_mean(self._values(items), weights),
            bounds=bounds,
        )
        self._of = of

    def parts(self, items: Sequence[Any]) -> Parts:
        return mean_parts(None, self._values(items))

    def _values(self, items: Sequence[Any]) -> Floats:
        return np.array([self._of(item) for item in items], dtype=np.float64)


class Measure(Protocol):
    """An aggregation that knows its own standard error and 95 % interval, however it has them."""

    name: str
    bounds: Bounds | None

    def __call__(self, items: Sequence[Any]) -> float: ...

    def stderr(self, items: Sequence[Any]) -> float: ...

    def interval(self, items: Sequence[Any]) -> Bounds: ...


class Interval:
    """The aggregation ``<metric>_ci95``: ``[low, high]``, rounded to 4 digits for the table.

    None where there is no interval.
    """

    def __init__(self, statistic: Measure) -> None:
        self._statistic = statistic

    def __repr__(self) -> str:
        return f"{self._statistic.name}_ci95"

    def __call__(self, items: Sequence[Any]) -> list[float] | None:
        bounds = self._statistic.interval(items)
        return [round(bound, 4) for bound in bounds] if all(map(math.isfinite, bounds)) else None


class Noting:
    """A statistic that shows its items to someone before it computes the value.

    What is no single number, such as a table of parts, is made of the items in this way and noted
    where the results keep it.

    Args:
        statistic: The statistic.
        note: Is given the items.
    """

    def __init__(self, statistic: Measure, note: Callable[[Sequence[Any]], None]) -> None:
        self._statistic = statistic
        self._note = note
        self.stderr = statistic.stderr
        self.bounds = statistic.bounds

    def __repr__(self) -> str:
        return repr(self._statistic)

    def __call__(self, items: Sequence[Any]) -> float:
        self._note(items)
        return self._statistic(items)


def reported(value: Any) -> Any:
    """An aggregated value as JSON can hold it: None for NaN, infinity, and pairs that have some."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    real = [part for part in parts if isinstance(part, (float, np.floating))]
    return value if all(map(math.isfinite, real)) else None
