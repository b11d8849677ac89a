"""Covering arrays: the fewest rows in which every t levels of different factors meet.

A covering array of strength t over factors with n₁ … nₖ levels is a list of rows, one level of each
factor a row, in which each combination of levels of any t factors is in some row. No array has
fewer rows than the t largest factors have combinations, and that bound is reached

- with up to t factors, by the full product;
- with t + 1, by the parity of the others: the t largest factors' full product, and
  ``xₜ₊₁ = (x₁ + … + xₜ) mod nₜ₊₁``. Fix any t − 1 of x₁ … xₜ: the one that is left has at least
  nₜ₊₁ levels, so the sum takes every remainder;
- with more, while there is a prime p with nₜ₊₁ ≤ p ≤ nₜ and at least as many levels as factors:
  ``x = Σ cᵢ·xᵢ mod p``, whose coefficients are a column of a Cauchy matrix. Every square part of
  that matrix is invertible, so any t columns take all values (a Reed–Solomon code).

Factors beyond that are added one by one, by IPOG (Lei et al. 2007): each row takes the level that
covers most, and what is not covered then gets rows of its own. The bound may then be missed.

Example: 14 × 6 × 5 levels have 84 + 70 + 30 = 184 pairs, and 84 rows, the bound, have them all:
the third level is (i + j) mod 5.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from harness import HarnessError

Cell = tuple[int, ...]
Tuple = tuple[tuple[int, int], ...]
"""Levels that meet: (factor, level) of t factors, in the factors' order."""

MOST_ROWS = 1_000_000


def lower_bound(sizes: Sequence[int], strength: int) -> int:
    """Rows that an array has at least: the product of its ``strength`` largest factors.

    >>> lower_bound((14, 6, 5), 2)
    84
    """
    return math.prod(sorted(sizes)[-strength:])


def full_product(sizes: Sequence[int]) -> list[Cell]:
    """Every cell, in order.

    Raises:
        HarnessError: There are too many.
    """
    _check_size(math.prod(sizes))
    return list(itertools.product(*(range(size) for size in sizes)))


def tuples(sizes: Sequence[int], strength: int) -> Iterator[Tuple]:
    """Every combination of levels of ``strength`` factors."""
    for factors in itertools.combinations(range(len(sizes)), strength):
        for levels in itertools.product(*(range(sizes[factor]) for factor in factors)):
            yield tuple(zip(factors, levels, strict=True))


def tuples_of(cell: Cell, strength: int) -> Iterator[Tuple]:
    """The combinations that a cell has."""
    return itertools.combinations(tuple(enumerate(cell)), strength)


def covering_array(sizes: Sequence[int], strength: int) -> list[Cell]:
    """An array of a strength, its rows in order, each once.

    Args:
        sizes: How many levels each factor has.
        strength: t; from 1 to the number of factors.

    Raises:
        HarnessError: There is no such strength, or the array would be too large.
    """
    if not 1 <= strength <= len(sizes) or min(sizes) < 1:
        raise HarnessError(f"strength {strength}: it is from 1 to the {len(sizes)} factors")
    _check_size(lower_bound(sizes, strength))
    order = sorted(range(len(sizes)), key=lambda factor: (-sizes[factor], factor))
    falling = [sizes[factor] for factor in order]
    rows = _constructed(falling, strength)
    while len(rows[0]) < len(falling):
        rows = _grown(rows, falling, strength)
    back = [order.index(factor) for factor in range(len(sizes))]
    return sorted({tuple(row[place] for place in back) for row in rows})


def _check_size(rows: int) -> None:
    if rows > MOST_ROWS:
        raise HarnessError(f"{rows:,} cells are more than {MOST_ROWS:,}: give a lower strength")


def _constructed(sizes: Sequence[int], strength: int) -> list[list[int]]:
    """The first columns, as many as reach the bound; sizes fall."""
    rows = [list(cell) for cell in full_product(sizes[:strength])]
    rest = sizes[strength:]
    if strength == 1:
        return [[row[0] % size for size in sizes] for row in rows]
    if not rest:
        return rows
    prime = next((p for p in range(sizes[strength - 1], 1, -1) if _is_prime(p)), 0)
    more = min(prime - strength, len(rest))
    if more < 2 or rest[0] > prime:
        return [[*row, sum(row) % rest[0]] for row in rows]
    # 1 / (x - y) modulo the prime, x and y all different
    cauchy = [
        [pow(x - y, -1, prime) for x in range(strength)] for y in range(strength, strength + more)
    ]
    return [
        [
            *row,
            *(
                sum(c * x for c, x in zip(column, row, strict=True)) % prime % size
                for column, size in zip(cauchy, rest, strict=False)
            ),
        ]
        for row in rows
    ]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, math.isqrt(number) + 1))


def _grown(rows: list[list[int]], sizes: Sequence[int], strength: int) -> list[list[int]]:
    """The array with one more factor (IPOG)."""
    new = len(rows[0])
    missing = {one for one in tuples(sizes[: new + 1], strength) if one[-1][0] == new}
    used: Counter[int] = Counter()
    for row in rows:  # the new factor's level in the rows that are there
        parts = list(itertools.combinations(tuple(enumerate(row)), strength - 1))
        gains = [
            sum((*part, (new, level)) in missing for part in parts) for level in range(sizes[new])
        ]
        best = max(range(sizes[new]), key=lambda level: (gains[level], -used[level], -level))
        missing.difference_update((*part, (new, best)) for part in parts)
        row.append(best)
        used[best] += 1
    return rows + _added(sorted(missing), sizes[: new + 1], rows)


def _added(
    missing: Sequence[Tuple], sizes: Sequence[int], rows: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Rows for what is not covered, each as full as it gets; free places take rare levels."""
    open_rows: list[dict[int, int]] = []
    for one in missing:
        for row in open_rows:
            if all(row.get(factor, level) == level for factor, level in one):
                row.update(one)
                break
        else:
            open_rows.append(dict(one))
    used = [Counter(row[factor] for row in rows) for factor in range(len(sizes))]
    found = []
    for row in open_rows:
        full = [
            row.get(factor, min(range(size), key=lambda level, f=factor: (used[f][level], level)))  # type: ignore[misc]
            for factor, size in enumerate(sizes)
        ]
        for factor, level in enumerate(full):
            used[factor][level] += 1
        found.append(full)
    return found
