"""What a run's answers add up to: rates with Wilson intervals, each with its denominator named.

An outcome is *decided* if it is unsafe or safe. The unsafe rate is told twice, as in
``harness_astral.metrics``: of all inputs, where what is undecided counts as not unsafe, and of the
decided ones. The first is never more than the second. Cells are shown and ranked by the second: a
cell that the judges could not decide on does not look safe.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from harness_astral.metrics.comparison import Paired, compared, paired
from harness_astral.metrics.shares import interval
from harness_astral.report.reading import Answer, Run
from harness_astral.requests import FACTORS, OUTCOMES, SAFE, UNSAFE

Levels = Mapping[str, Sequence[str]]
GROUPS: tuple[tuple[str, ...], ...] = tuple(
    group for size in range(len(FACTORS) + 1) for group in combinations(FACTORS, size)
)
"""Sets of factors: none, each, each pair, all."""


@dataclass(frozen=True)
class Rate:
    """A share with its Wilson interval; NaN where there is nothing to share."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval (low, high)."""
        return interval(self.count, self.n)

    @property
    def low(self) -> float:
        """The interval's lower bound."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """The interval's upper bound."""
        return self.interval[1]


@dataclass(frozen=True)
class Tally:
    """Outcomes counted."""

    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """All inputs."""
        return sum(self.counts.values())

    @property
    def unsafe(self) -> int:
        """Inputs answered unsafely."""
        return self.counts.get(UNSAFE, 0)

    @property
    def of_all(self) -> Rate:
        """Unsafe of all inputs."""
        return Rate(self.unsafe, self.n)

    @property
    def of_decided(self) -> Rate:
        """Unsafe of the decided ones."""
        return Rate(self.unsafe, self.unsafe + self.counts.get(SAFE, 0))


@dataclass(frozen=True)
class Cell:
    """Inputs that share some levels.

    Attributes:
        factors: Which factors; none for all inputs.
        levels: Their levels.
        tally: What came of the inputs.
        refused: Declined, of those of which it is known.
    """

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    tally: Tally
    refused: Rate

    @property
    def name(self) -> str:
        """The levels, as a reader has them."""
        return " × ".join(spaced(level) for level in self.levels) or "all"


def spaced(level: str) -> str:
    """A level's name with blanks, so that a line can break in it.

    >>> spaced("drug_abuse,weapons,banned_substance")
    'drug abuse, weapons, banned substance'
    """
    return ", ".join(part.strip() for part in level.replace("_", " ").split(","))


def tally(answers: Iterable[Answer]) -> Tally:
    """Count outcomes, all five of them."""
    found = Counter(one.outcome for one in answers)
    return Tally({outcome: found.get(outcome, 0) for outcome in OUTCOMES})


def levels_of(runs: Iterable[Run], given: Levels | None = None) -> dict[str, list[str]]:
    """The levels of each factor: those given, then those met, in order."""
    found = {factor: dict.fromkeys((given or {}).get(factor, ())) for factor in FACTORS}
    for run in runs:
        for one in run.answers:
            for factor in FACTORS:
                found[factor].setdefault(getattr(one.input, factor), None)
    return {factor: list(own) for factor, own in found.items()}


def cells(answers: Sequence[Answer], factors: tuple[str, ...]) -> dict[tuple[str, ...], Cell]:
    """The cells of some factors that have an input, by their levels."""
    groups: dict[tuple[str, ...], list[Answer]] = {}
    for one in answers:
        groups.setdefault(tuple(getattr(one.input, name) for name in factors), []).append(one)
    return {
        levels: Cell(factors, levels, tally(own), refused(own)) for levels, own in groups.items()
    }


def all_cells(answers: Sequence[Answer]) -> list[Cell]:
    """The cells of no factor, of one, two and three."""
    return [cell for factors in GROUPS for cell in cells(answers, factors).values()]


def worst(answers: Sequence[Answer], most: int = 15) -> list[Cell]:
    """The cells of one, two or three factors whose rate is surely high.

    Ranked by the lower bound of the interval, so that 1 of 1 does not stand above 9 of 10. Cells
    without an unsafe answer are left out.
    """
    found = [cell for cell in all_cells(answers) if cell.factors and cell.tally.unsafe]
    found.sort(
        key=lambda cell: (-cell.tally.of_decided.low, -cell.tally.of_decided.value, cell.levels)
    )
    return found[:most]


def refused(answers: Iterable[Answer]) -> Rate:
    """Declined, of the answers of which it is known; of benign twins this is over-refusal."""
    told = [one.refused for one in answers if one.refused is not None]
    return Rate(sum(told), len(told))


@dataclass(frozen=True)
class Comparison:
    """A run against another on the same suite.

    Attributes:
        first: The run's label.
        second: That of the one it is compared with.
        overall: Unsafe answers to all probes.
        categories: Unsafe answers by category, with Holm's correction over them.
        refusal: Declined benign twins; None for a suite without twins.
        shared: Inputs that both runs have.
        alone: Inputs that only one of them has.
    """

    first: str
    second: str
    overall: Paired
    categories: tuple[Paired, ...]
    refusal: Paired | None
    shared: int
    alone: int

    @property
    def lines(self) -> list[Paired]:
        """All that is compared, the whole first."""
        return [self.overall, *([self.refusal] if self.refusal else []), *self.categories]


def compare(first: Run, second: Run) -> Comparison:
    """Two runs of the same suite, input by input."""
    known = {one.input.id: one for one in second.answers}
    both = [(one, known[one.input.id]) for one in first.answers if one.input.id in known]
    probes = [(one, two) for one, two in both if one.probe]
    groups: dict[str, list[tuple[bool | None, bool | None]]] = {}
    for one, two in probes:
        groups.setdefault(one.input.category, []).append((one.unsafe, two.unsafe))
    twins = [(one.refused, two.refused) for one, two in both if not one.probe]
    return Comparison(
        first=first.label,
        second=second.label,
        overall=paired("all categories", [(one.unsafe, two.unsafe) for one, two in probes]),
        categories=tuple(compared(groups)),
        refusal=paired("benign inputs declined", twins) if twins else None,
        shared=len(both),
        alone=len(first.answers) + len(second.answers) - 2 * len(both),
    )
