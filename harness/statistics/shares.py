r"""Shares of documents: intervals of one, and of the difference of two on the same documents.

With b documents that only one run has right, c that only the other has, and n in all, the paired
difference is (b − c)/n.

McNemar's exact test (1947): under "no difference" b ~ Binomial(b + c, ½); two-sided.

Tango's interval (1998, *Statistics in Medicine* 17, 891) is that of all differences δ which a score
test at 5 % does not reject, as McNemar's asymptotic test is at δ = 0:

    |b − c − nδ| ≤ 1.96 √(n (2q + δ(1 − δ)))

where q is the likeliest share of documents that only the second run has right, given δ: the larger
root of 2n q² + ((2n − b + c) δ − b − c) q − c δ(1 − δ) = 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float]
Fourfold = tuple[int, int, int, int]
"""Documents right in both runs, in the first alone, in the second alone, in neither."""

_Z95 = 1.959964


def wilson(successes: float, n: float, z: float = _Z95) -> Bounds:
    """Wilson score interval of a share (Wilson 1927), 95 % by default.

    Neither need be a whole number.

    Raises:
        ValueError: ``successes`` is not within 0 … n, or n is 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no share")
    share, zz = successes / n, z * z / n
    centre = (share + zz / 2) / (1 + zz)
    half = z / (1 + zz) * math.sqrt(share * (1 - share) / n + zz / (4 * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def tango(table: Fourfold) -> Bounds:
    """95 % interval of the difference of two shares on the same documents, first less second.

    >>> tuple(round(end, 4) for end in tango((0, 0, 0, 100)))  # 1.96²/(100 + 1.96²)
    (-0.037, 0.037)

    Raises:
        ValueError: There is no document.
    """
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    if sum(table) == 0:
        raise ValueError("no document, no difference")
    found = (table[1] - table[2]) / sum(table)

    def end(limit: float) -> float:
        at_limit = _score(table, limit)
        if abs(at_limit) <= _Z95 or limit == found:
            return limit
        return float(brentq(lambda at: abs(_score(table, at)) - _Z95, found, limit, xtol=1e-12))

    return end(-1.0), end(1.0)


def _score(table: Fourfold, at: float) -> float:
    """How many standard errors the difference that was found lies above another."""
    _, b, c, _ = table
    n = sum(table)
    half = ((2 * n - b + c) * at - b - c) / 2
    other = (math.sqrt(max(0.0, half**2 + 2 * n * c * at * (1 - at))) - half) / (2 * n)
    excess = b - c - n * at
    variance = n * (2 * other + at * (1 - at))
    if excess == 0:
        return 0.0
    return excess / math.sqrt(variance) if variance > 0 else math.copysign(1e9, excess)


def mcnemar(table: Fourfold) -> float:
    """Exact two-sided p-value of "both runs are right equally often" (McNemar 1947).

    >>> mcnemar((10, 6, 0, 4))
    0.03125
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    _, b, c, _ = table
    return float(binomtest(b, b + c).pvalue) if b + c else 1.0
