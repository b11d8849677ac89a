"""Runs × tasks: what stands in which cell, how it differs from the baseline, and who is best.

Best are the run with the best value and all that are not shown to be worse: where
the two were compared on the same documents, the interval of that difference excludes 0; else their
distance is more than 1.96 √(σ₁² + σ₂²), the two taken as independent. Where the best value has no
interval, nobody is called best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.comparing.difference import Difference
from harness.leaderboard.rows import Row
from harness.studies.report.columns import Column, columns_of, held_in
from harness.studies.report.view import StudyCell, View

_Z95 = 1.96
SURE = 0.05
"""A corrected p-value below this is a difference."""


@dataclass(frozen=True)
class Entry:
    """What a run has in a column.

    Attributes:
        row: The headline metric.
        cell: The cell that it is of.
        difference: From the baseline.
        best: Whether nothing is shown to be better.
        others: All metrics of the task, the headline first.
    """

    row: Row
    cell: StudyCell
    difference: Difference | None
    best: bool
    others: Sequence[Row]


@dataclass(frozen=True)
class Matrix:
    """Columns, and what runs have in them, by run and place of the column.

    ``absent`` says of cells without results whether they failed or are missing.
    """

    columns: Sequence[Column]
    entries: Mapping[tuple[str, int], Entry]
    absent: Mapping[tuple[str, int], tuple[StudyCell, str]]

    def place(self, task: str) -> int | None:
        """The column of one of the study's tasks; None without values, and for a tag of several."""
        own = [
            (place, one.contest.task)
            for place, one in enumerate(self.columns)
            if one.of == task and one.head is None and one.contest is not None
        ]
        return own[0][0] if len({name for _, name in own}) == 1 else None

    def column(self, place: int) -> dict[str, Entry]:
        """What runs have in a column."""
        return {run: entry for (run, at), entry in self.entries.items() if at == place}


class Differences:
    """Differences by what they compare, in either direction."""

    def __init__(self, found: Iterable[Difference]) -> None:
        self._found = {(d.task, d.metric, d.filter, d.baseline, d.run): d for d in found}

    def between(self, row: Row, baseline: str | None, run: str) -> Difference | None:
        """The difference of a run from another on a row's task and metric."""
        if baseline is None:
            return None
        return self._found.get((row.task.task, row.metric, row.filter, baseline, run))

    def sign(self, row: Row, one: str, other: str) -> int | None:
        """Whether ``one`` is larger (1), smaller (-1) or not shown to differ (0); None: unknown."""
        for sign, first, second in ((1, other, one), (-1, one, other)):
            found = self.between(row, first, second)
            if found is not None and found.low is not None and found.high is not None:
                return sign if found.low > 0 else -sign if found.high < 0 else 0
        return None


def sure(difference: Difference | None) -> bool:
    """Whether a difference is real, after the correction for the number of comparisons."""
    return difference is not None and difference.p_holm is not None and difference.p_holm < SURE


def better(difference: Difference) -> bool | None:
    """Whether it is for the better; None where there is none, or no direction is known."""
    if difference.higher_is_better is None or difference.difference == 0:
        return None
    return (difference.difference > 0) == difference.higher_is_better


def matrix_of(view: View) -> Matrix:
    """Put a study's results into their places.

    Raises:
        HarnessError: Results are of no cell.
    """
    held = held_in(view)
    columns = columns_of(view, held)
    at = {column.key: place for place, column in enumerate(columns)}
    differences = Differences(view.differences)
    entries: dict[tuple[str, int], Entry] = {}
    for key, own in held.items():
        place = at[key]
        rows = {run: one.row for run, one in own.items()}
        best = _best(rows, columns[place].up, differences)
        for run, one in own.items():
            found = differences.between(one.row, view.baseline, run)
            entries[run, place] = Entry(one.row, one.cell, found, run in best, one.others)
    return Matrix(columns, entries, _absent(view, columns, entries))


def ranked(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Those with a value; where some are of all of the data, only these."""
    scored = {run: row for run, row in rows.items() if row.value is not None}
    whole = {run: row for run, row in scored.items() if not row.task.limited}
    return whole or scored


def _best(rows: Mapping[str, Row], up: bool | None, differences: Differences) -> set[str]:
    """The runs that nothing is shown to be better than."""
    whole = ranked(rows)
    if up is None or len(whole) < 2:
        return set()
    sign = 1 if up else -1
    first = max(whole, key=lambda run: sign * (whole[run].value or 0.0))
    if whole[first].ci95_low is None:
        return set()
    return {
        run for run in whole if run == first or not _worse(run, first, whole, sign, differences)
    }


def _worse(
    run: str, first: str, rows: Mapping[str, Row], sign: int, differences: Differences
) -> bool:
    """Whether a run is shown to be worse than the best; one without an interval is taken to be."""
    row, best = rows[run], rows[first]
    known = differences.sign(row, run, first)
    if known is not None:
        return known == -sign
    if row.value == best.value:
        return False
    deviations = [deviation(row), deviation(best)]
    if None in deviations:
        return True
    assert row.value is not None and best.value is not None
    noise = math.hypot(*(one for one in deviations if one is not None))
    return sign * (best.value - row.value) > _Z95 * noise


def deviation(row: Row) -> float | None:
    """The standard error; where it is 0 or not known, what the interval comes to."""
    if row.stderr:
        return row.stderr
    if row.ci95_low is None or row.ci95_high is None:
        return None
    return (row.ci95_high - row.ci95_low) / (2 * _Z95)


def _absent(
    view: View, columns: Sequence[Column], entries: Mapping[tuple[str, int], Entry]
) -> dict[tuple[str, int], tuple[StudyCell, str]]:
    """Cells without results, in the first column of their task."""
    done = {entry.cell.name for entry in entries.values()}
    failed = {failure.name for failure in view.failed}
    first: dict[str, int] = {}
    for place, column in enumerate(columns):
        first.setdefault(column.of, place)
    found: dict[tuple[str, int], tuple[StudyCell, str]] = {}
    for cell in view.cells:
        at = first.get(cell.task)
        if cell.name not in done and at is not None:
            found[cell.run, at] = (cell, "failed" if cell.name in failed else "missing")
    return found
