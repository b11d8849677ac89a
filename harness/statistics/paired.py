r"""The difference of two runs on the same units: its interval and its p-value.

Both runs are resampled by the same draws of U units (documents, concepts):

    δ*_b = θ(run, w_b) − θ(baseline, w_b),   w_b ~ Multinomial(U; 1/U, …, 1/U),   b = 1 … B

The 95 % interval is from the α/2 and 1 − α/2 quantiles of δ*, where α is widened for few units as
Hesterberg (2015, *The American Statistician* 69(4): the expanded percentile interval) does:

    α/2 = Φ(−√(U/(U − 1)) · t_{U−1; 0.975})

which is 0.025 for many units. The p-value is the level at which such an interval just reaches 0:

    s = (1 + min(#{δ* ≤ 0}, #{δ* ≥ 0}))/(B + 1),   p = 2 T_{U−1}(√((U − 1)/U) · Φ⁻¹(s))

so that p < 0.05 and an interval without 0 are the same thing, but for the 1 that keeps p above 0.
Where no δ* lies beyond 0, p is 2/B at most, too coarse for Holm over hundreds of differences; of 30
units and more it is then that of δ over the resamples' standard error, if that is smaller.
Where every unit has 0 or 1 in both runs, the test is McNemar's and the interval Tango's
(``shares``). The difference of a mean over k strata has U − k in the place of U − 1.

Where the resamples lie more than half a standard error beside the difference, as those of a
calibration error do, they are biased (Efron & Tibshirani 1993, §10.3): there is no interval.

B is 10,000, fewer of very many units (``_CELLS``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.statistics.bootstrap import FEWEST, Parts
from harness.statistics.shares import Floats, Fourfold, mcnemar, tango

RESAMPLES = 10_000
_FEWEST_RESAMPLES = 1_000
_CELLS = 200_000_000
"""Draws of a unit in one difference, at most, as long as 1,000 resamples are left."""
_CHUNK_CELLS = 4_000_000
_MANY = 30
"""Units from which on the tail of a mean is about normal."""
_BIASED = 0.5
"""Standard errors by which resamples may lie beside the difference."""

_Places = npt.NDArray[np.intp]


class Pair(Protocol):
    """A statistic of two runs on the same units."""

    @property
    def units(self) -> int:
        """Independent units that both runs have."""

    @property
    def strata(self) -> int:
        """Groups in which they are resampled."""

    @property
    def baseline_value(self) -> float:
        """The statistic of the baseline."""

    @property
    def value(self) -> float:
        """The statistic of the other run."""

    @property
    def table(self) -> Fourfold | None:
        """Units right in the run and the baseline, the run alone, … where each is 0 or 1."""

    def differences(self, resamples: int, seed: int) -> Floats:
        """Resampled differences, of the run less the baseline [resamples]; NaN if undefined."""


@dataclass(frozen=True)
class Tested:
    """The 95 % interval of a difference, and the p-value of "no difference"; None if there is none.

    ``test`` is how p was found: ``bootstrap`` or ``mcnemar``.
    """

    low: float | None
    high: float | None
    p: float | None
    test: str


def pair(baseline: Parts, run: Parts, items: int) -> Pair:
    """Two runs' statistic, on the units that both have.

    Args:
        baseline: The baseline's parts.
        run: The other run's.
        items: Number of items of each run, of the same documents in the same order, where units
            have no names.
    """
    ours, theirs = _common(baseline, run, items)
    if baseline.values is not None and run.values is not None:
        first, second = baseline.values[ours], run.values[theirs]
        known = ~(np.isnan(first) | np.isnan(second))
        return _Means(first[known], second[known])
    return _Resampled(baseline, run, ours, theirs, items)


def _common(baseline: Parts, run: Parts, items: int) -> tuple[_Places, _Places]:
    """Where the units of both are in each."""
    if baseline.units is None or run.units is None:
        return np.arange(items), np.arange(items)
    place = {name: number for number, name in enumerate(run.units)}
    shared = [(n, place[name]) for n, name in enumerate(baseline.units) if name in place]
    both = np.array(shared, dtype=np.intp).reshape(-1, 2)
    return both[:, 0], both[:, 1]


@dataclass(frozen=True)
class _Means:
    """The mean of one value a unit, in the baseline [U] and in the run [U]."""

    baseline: Floats
    run: Floats
    strata: int = 1

    @property
    def units(self) -> int:
        return len(self.run)

    @property
    def baseline_value(self) -> float:
        return float(self.baseline.mean()) if self.units else math.nan

    @property
    def value(self) -> float:
        return float(self.run.mean()) if self.units else math.nan

    @cached_property
    def table(self) -> Fourfold | None:
        both = np.concatenate([self.run, self.baseline])
        if not ((both == 0) | (both == 1)).all():
            return None
        cells = np.bincount((self.run * 2 + self.baseline).astype(int), minlength=4)
        return int(cells[3]), int(cells[2]), int(cells[1]), int(cells[0])

    def differences(self, resamples: int, seed: int) -> Floats:
        """Means of as many drawn differences; equal ones are drawn together, which is the same."""
        own = self.run - self.baseline
        rng = np.random.default_rng(seed)
        distinct, counts = np.unique(own, return_counts=True)
        if len(distinct) <= 64:
            drawn = rng.multinomial(len(own), counts / len(own), size=resamples)
            found: Floats = drawn @ distinct / len(own)
            return found
        means = (own[places].mean(1) for places in _drawn(rng, len(own), resamples))
        return np.concatenate(list(means))


@dataclass(frozen=True)
class _Resampled:
    """A statistic that is computed anew in each resample."""

    baseline: Parts
    run: Parts
    ours: _Places
    theirs: _Places
    items: int
    strata: int = 1
    table: None = None

    @property
    def units(self) -> int:
        return len(self.ours)

    @cached_property
    def baseline_value(self) -> float:
        return float(self._of(self.baseline, self.ours, np.ones((1, self.units)))[0])

    @cached_property
    def value(self) -> float:
        return float(self._of(self.run, self.theirs, np.ones((1, self.units)))[0])

    def differences(self, resamples: int, seed: int) -> Floats:
        rng, size = np.random.default_rng(seed), self.units
        found = []
        for places in _drawn(rng, size, resamples, cells=max(size, self.items)):
            rows = np.arange(len(places))[:, None] * size
            drawn = np.bincount((places + rows).ravel(), minlength=len(places) * size)
            counts = drawn.reshape(len(places), size).astype(np.float64)
            run = self._of(self.run, self.theirs, counts)
            found.append(run - self._of(self.baseline, self.ours, counts))
        return np.concatenate(found)

    def _of(self, parts: Parts, places: _Places, counts: Floats) -> Floats:
        size = self.items if parts.units is None else len(parts.units)
        every = np.zeros((len(counts), size))
        every[:, places] = counts
        return parts.of(every)


@dataclass(frozen=True)
class Stratified:
    """A weighted mean of several pairs' statistics, each resampled by itself.

    Args:
        pairs: One pair a stratum.
        weights: Their weights; they add up to 1.
    """

    pairs: Sequence[Pair]
    weights: Sequence[float]
    table: None = None

    @property
    def units(self) -> int:
        return sum(one.units for one in self.pairs)

    @property
    def strata(self) -> int:
        return sum(one.strata for one in self.pairs)

    @property
    def baseline_value(self) -> float:
        return self._mean([one.baseline_value for one in self.pairs])

    @property
    def value(self) -> float:
        return self._mean([one.value for one in self.pairs])

    def differences(self, resamples: int, seed: int) -> Floats:
        total = np.zeros(resamples)
        for place, (one, weight) in enumerate(zip(self.pairs, self.weights, strict=True)):
            total += weight * one.differences(resamples, seed + place)
        return total

    def _mean(self, values: Sequence[float]) -> float:
        return math.fsum(w * v for w, v in zip(self.weights, values, strict=True))


def _drawn(
    rng: np.random.Generator, units: int, resamples: int, *, cells: int = 0
) -> Iterator[npt.NDArray[np.int64]]:
    """Units drawn with replacement [b, U], in all B rows."""
    rows = max(1, _CHUNK_CELLS // max(1, units, cells))
    for start in range(0, resamples, rows):
        yield rng.integers(units, size=(min(rows, resamples - start), units))


def difference_test(found: Pair, *, resamples: int = RESAMPLES, seed: int = 0) -> Tested:
    """The interval and the p-value of a difference.

    There is none of fewer than ``FEWEST`` units, nor where the resamples are biased or have no
    spread: all units differ by the same. Of runs that are equal in all units p is 1.

    Args:
        found: The pair.
        resamples: Resamples B, at most.
        seed: Seed of the resampling.
    """
    table = found.table
    if table is not None and found.units >= FEWEST:
        return Tested(*tango(table), mcnemar(table), "mcnemar")
    freedom = found.units - found.strata
    if found.units < FEWEST or freedom < 1:
        return Tested(None, None, None, "bootstrap")
    size = min(resamples, max(_FEWEST_RESAMPLES, _CELLS // found.units))
    drawn = found.differences(size, seed)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < max(2, size / 2):
        return Tested(None, None, None, "bootstrap")
    near = 1e-12 * max(1.0, abs(found.value), abs(found.baseline_value))
    if np.ptp(drawn) <= near:
        same = abs(found.value - found.baseline_value) <= near
        return Tested(None, None, 1.0 if same else None, "bootstrap")
    bias = drawn.mean() - (found.value - found.baseline_value)
    if abs(bias) > _BIASED * drawn.std():
        return Tested(None, None, None, "bootstrap")
    return _expanded(drawn, near, found.units, freedom)


def _expanded(drawn: Floats, near: float, units: int, freedom: int) -> Tested:
    """The expanded percentile interval, and the p-value that belongs to it."""
    from scipy.special import ndtr, ndtri, stdtr, stdtrit  # type: ignore[import-untyped]

    stretch = math.sqrt(units / freedom)
    tail = float(ndtr(-stretch * stdtrit(freedom, 0.975)))
    low, high = (float(end) for end in np.quantile(drawn, [tail, 1 - tail]))
    beyond = min(int((drawn <= near).sum()), int((drawn >= -near).sum()))
    share = min(0.5, (1 + beyond) / (len(drawn) + 1))
    at = ndtri(share) / stretch
    if beyond == 0 and units >= _MANY:
        at = min(at, -abs(drawn.mean()) / (stretch * drawn.std()))
    return Tested(low, high, min(1.0, 2 * float(stdtr(freedom, at))), "bootstrap")
