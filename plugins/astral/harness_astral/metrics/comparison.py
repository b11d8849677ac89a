r"""Two runs on the same inputs: which of them answers unsafely more often, and is it chance?

Each input is a pair of verdicts, so a table of four counts says all: a inputs that both runs
answered unsafely, b only the first, c only the second, d neither; n = a + b + c + d.

- *McNemar's exact test* (McNemar 1947; exact by the binomial law): if both runs are equally unsafe,
  each of the b + c inputs on which they differ falls to either side with probability 1/2. The
  two-sided p-value is that of b heads in b + c tosses.
- *Difference of the rates*, p1 − p2 = (b − c) / n, with Newcombe's square-and-add interval for
  paired shares (Newcombe 1998, Statistics in Medicine 17:2635–2650, method 10): from the Wilson
  intervals (l1, u1) and (l2, u2) of the two rates and their correlation φ,

      low  = p1 − p2 − √((p1 − l1)² − 2φ (p1 − l1)(u2 − p2) + (u2 − p2)²)
      high = p1 − p2 + √((u1 − p1)² − 2φ (u1 − p1)(p2 − l2) + (p2 − l2)²)
      φ    = max(ad − bc − n/2, 0) / √((a+b)(c+d)(a+c)(b+d)) where ad > bc, without the n/2 else

- *Several categories at once* are corrected by Holm's step-down rule (Holm 1979): of m p-values the
  k-th smallest counts (m − k + 1) times, and none counts less than the one before.

Worked example: a = 1, b = 1, c = 7, d = 12. p = 2 · (1 + 8) / 2⁸ = .0703; the difference is
2/21 − 8/21 = −.286; ad − bc = 5 is less than n/2, so φ = 0, and with the Wilson intervals
(.0265, .2891) and (.2075, .5912) it lies between −.507 and −.026.

Only inputs that are decided in both runs make a pair; how many are not is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness import wilson


@dataclass(frozen=True)
class Paired:
    """The verdicts of two runs on the same inputs.

    Attributes:
        name: Which inputs: a category, or all.
        both: Inputs on which both verdicts are true (unsafe).
        first: Those on which only the first run's is.
        second: Those on which only the second run's is.
        neither: Those on which none is.
        left_out: Inputs that one of the runs did not decide.
        p_holm: The p-value, corrected for the others that it was tested with.
    """

    name: str
    both: int
    first: int
    second: int
    neither: int
    left_out: int = 0
    p_holm: float | None = None

    @property
    def n(self) -> int:
        """Pairs."""
        return self.both + self.first + self.second + self.neither

    @property
    def rates(self) -> tuple[float, float]:
        """The shares of true verdicts, of the first run and the second; NaN without pairs."""
        if not self.n:
            return math.nan, math.nan
        return (self.both + self.first) / self.n, (self.both + self.second) / self.n

    @property
    def difference(self) -> float:
        """The first run's rate less the second's; NaN without pairs."""
        return (self.first - self.second) / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Newcombe's 95 % interval of the difference; NaN without pairs."""
        if not self.n:
            return math.nan, math.nan
        one, two = self.rates
        low1, high1 = wilson(self.both + self.first, self.n)
        low2, high2 = wilson(self.both + self.second, self.n)
        phi = self._correlation()
        down, up = one - low1, high1 - one
        down2, up2 = two - low2, high2 - two
        low = math.sqrt(down**2 - 2 * phi * down * up2 + up2**2)
        high = math.sqrt(up**2 - 2 * phi * up * down2 + down2**2)
        return self.difference - low, self.difference + high

    @property
    def p(self) -> float:
        """The two-sided p-value of McNemar's exact test; 1 where the runs never differ."""
        from scipy.stats import binomtest  # type: ignore[import-untyped]

        differing = self.first + self.second
        return float(binomtest(self.first, differing).pvalue) if differing else 1.0

    def _correlation(self) -> float:
        a, b, c, d = self.both, self.first, self.second, self.neither
        size = math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
        cross = a * d - b * c
        if cross > 0:
            return max(cross - self.n / 2, 0) / size if size else 0.0
        return cross / size if size else 0.0


def paired(name: str, pairs: Iterable[tuple[bool | None, bool | None]]) -> Paired:
    """Count pairs of verdicts; a pair with None in it is left out.

    >>> paired("all", [(True, False), (True, True), (None, True)])
    Paired(name='all', both=1, first=1, second=0, neither=0, left_out=1, p_holm=None)
    """
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    left_out = 0
    for one, two in pairs:
        if one is None or two is None:
            left_out += 1
        else:
            counts[one, two] += 1
    both, first, second, neither = counts.values()
    return Paired(name, both, first, second, neither, left_out)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given (Holm 1979).

    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def compared(
    groups: Mapping[str, Iterable[tuple[bool | None, bool | None]]],
) -> list[Paired]:
    """Pairs of verdicts counted group by group (category), with Holm's correction over the groups.

    A group without pairs is not tested, and does not count in the correction.
    """
    found = [paired(name, pairs) for name, pairs in groups.items()]
    corrected = iter(holm([one.p for one in found if one.n]))
    return [replace(one, p_holm=next(corrected)) if one.n else one for one in found]
