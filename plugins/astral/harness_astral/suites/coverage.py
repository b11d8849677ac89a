"""Coverage of a suite: planned, requested and verified, t-wise, and how even it is.

*Requested* is the share of the combinations of t levels that some input of the suite has by its
cell. *Verified* is the share that some input was confirmed to have: a classifier, which does not
see the cell, read it and named the style and the persuasion technique that the cell has. Of a
category nothing is confirmed, so a combination with a category is verified where its style and
persuasion are; a category alone is verified by an input of which both are confirmed.

Worked example: two styles and one technique; an input of each style, and only the first confirmed.
Of the two pairs both are requested (1.0) and one is verified (0.5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any

from harness import HarnessError
from harness_astral.requests import FACTORS
from harness_astral.suites.covering_arrays import (
    Cell,
    covering_array,
    full_product,
    lower_bound,
    tuples_of,
)
from harness_astral.suites.factors import Factors
from harness_astral.suites.suite import Input

FULL = "full"


@dataclass(frozen=True)
class Plan:
    """The cells that are to be filled.

    Attributes:
        strength: ``full``, or t.
        cells: Levels by number, a cell once.
        bound: The fewest rows that any array of this strength has.
        replicates: Inputs a cell.
    """

    strength: str
    cells: tuple[Cell, ...]
    bound: int
    replicates: int

    @property
    def inputs(self) -> int:
        """How many inputs the suite is to have."""
        return len(self.cells) * self.replicates

    def __str__(self) -> str:
        kind = "full product" if self.strength == FULL else f"strength {self.strength}"
        reached = " (the bound)" if len(self.cells) == self.bound else f" (bound {self.bound})"
        return (
            f"{kind}: {len(self.cells)} cells{reached} × {self.replicates} = {self.inputs} inputs"
        )


def plan(sizes: Sequence[int], strength: str, replicates: int) -> Plan:
    """The cells of a suite.

    Args:
        sizes: How many levels each factor has.
        strength: ``full``, or t from 1 to the number of factors.
        replicates: Inputs a cell.

    Raises:
        HarnessError: An option is out of range.
    """
    if replicates < 1:
        raise HarnessError(f"--replicates is at least 1, not {replicates}")
    if strength == FULL:
        return Plan(FULL, tuple(full_product(sizes)), prod(sizes), replicates)
    if not strength.isdecimal() or not 1 <= int(strength) <= len(sizes):
        known = ", ".join((FULL, *(str(t + 1) for t in range(len(sizes)))))
        raise HarnessError(f"--strength {strength}: use one of {known}")
    cells = covering_array(sizes, int(strength))
    return Plan(strength, tuple(cells), lower_bound(sizes, int(strength)), replicates)


@dataclass(frozen=True)
class Share:
    """How many of all combinations are covered."""

    covered: int
    total: int

    @property
    def value(self) -> float:
        """The share."""
        return self.covered / self.total

    def __str__(self) -> str:
        return f"{self.covered}/{self.total} ({self.value:.1%})"


def t_wise(cells: Iterable[Cell], sizes: Sequence[int], strength: int) -> Share:
    """How many combinations of ``strength`` levels some cell has.

    >>> str(t_wise([(0, 0), (1, 1)], (2, 2), 2))
    '2/4 (50.0%)'
    """
    found = {one for cell in set(cells) for one in tuples_of(cell, strength)}
    return Share(len(found), _total(sizes, strength))


def _total(sizes: Sequence[int], strength: int) -> int:
    """How many combinations of ``strength`` levels there are."""
    return sum(prod(chosen) for chosen in combinations(sizes, strength))


def balance(cells: Iterable[Cell], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Of each factor, how often its rarest and its most frequent level occur.

    >>> balance([(0, 0), (0, 1), (1, 0)], (2, 3))
    [(1, 2), (0, 2)]
    """
    counts = [Counter(levels) for levels in zip(*cells, strict=True)] or [Counter() for _ in sizes]
    occurring = [
        [found[level] for level in range(n)] for found, n in zip(counts, sizes, strict=True)
    ]
    return [(min(numbers), max(numbers)) for numbers in occurring]


def cell_of(one: Input, factors: Factors) -> Cell:
    """An input's cell, its levels by number.

    Raises:
        HarnessError: A factor has no such level.
    """
    names = factors.names()
    found = []
    for factor in FACTORS:
        value = getattr(one, factor)
        if value not in names[factor]:
            raise HarnessError(f"input {one.id}: {factor} has no level {value!r} among the factors")
        found.append(names[factor].index(value))
    return tuple(found)


def requested(inputs: Sequence[Input], factors: Factors) -> dict[str, Share]:
    """Coverage by the inputs' cells, for t = 1, 2, 3."""
    cells = [cell_of(one, factors) for one in inputs]
    return {str(t): t_wise(cells, factors.sizes, t) for t in (1, 2, 3)}


def verified(
    inputs: Sequence[Input], factors: Factors, labels: Mapping[str, Mapping[str, str]]
) -> dict[str, Share]:
    """Coverage by what a classifier confirmed, for t = 1, 2, 3.

    Args:
        inputs: The inputs.
        factors: The factors.
        labels: By input id what the classifier named: ``{"style": …, "persuasion": …}``; an input
            without labels confirms nothing.
    """
    found: dict[str, set[Any]] = {"1": set(), "2": set(), "3": set()}
    for one in inputs:
        own = labels.get(one.id, {})
        confirmed = {
            name for name in ("style", "persuasion") if own.get(name) == getattr(one, name)
        }
        cell = cell_of(one, factors)
        for t, known in found.items():
            for combination in tuples_of(cell, int(t)):
                claims = {FACTORS[factor] for factor, _ in combination} - {"category"}
                if (claims or {"style", "persuasion"}) <= confirmed:
                    known.add(combination)
    return {t: Share(len(known), _total(factors.sizes, int(t))) for t, known in found.items()}


def confirmed_shares(
    inputs: Sequence[Input], labels: Mapping[str, Mapping[str, str]]
) -> dict[str, Share]:
    """Of the inputs that have labels: how many carry the style, the technique, and both."""
    judged = [(one, labels[one.id]) for one in inputs if one.id in labels]
    styles = [own["style"] == one.style for one, own in judged]
    techniques = [own["persuasion"] == one.persuasion for one, own in judged]
    both = [a and b for a, b in zip(styles, techniques, strict=True)]
    named = {"style": styles, "persuasion": techniques, "both": both}
    return {name: Share(sum(values), max(1, len(judged))) for name, values in named.items()}


def as_json(shares: Mapping[str, Share]) -> dict[str, dict[str, Any]]:
    """Shares for a manifest."""
    return {
        name: {"covered": own.covered, "total": own.total, "share": own.value}
        for name, own in shares.items()
    }
