"""Columns of the matrix: what may be compared, in the study's order, parts behind their group.

A column is one of the study's tasks, or a part of one that is a group, with its headline metric on
the same data, with the same shots and judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.leaderboard.rows import Contest, Row
from harness.leaderboard.tables import labels
from harness.studies.report.places import Places
from harness.studies.report.view import StudyCell, View

Key = tuple[str, Contest]
"""The study's name of a task, and what its values may be compared with."""


@dataclass(frozen=True)
class Column:
    """What a column compares.

    Attributes:
        of: The study's name of the task, or of the group that the task is in.
        label: What is read above it.
        contest: None where nothing of the task is done.
        up: Whether more is better; None where that is not known.
        head: The column of the group that the task is in, by its place; None for a column that
            stands for itself.
    """

    of: str
    label: str
    contest: Contest | None
    up: bool | None
    head: int | None

    @property
    def key(self) -> Key | None:
        """What tells it from other columns with values."""
        return None if self.contest is None else (self.of, self.contest)


@dataclass
class Held:
    """A headline row, its cell, and all rows of its task, the headline first."""

    cell: StudyCell
    row: Row
    others: list[Row] = field(default_factory=list)


def held_in(view: View) -> dict[Key, dict[str, Held]]:
    """What each run has in each column that has values.

    Raises:
        HarnessError: Results are of no cell.
    """
    places = Places(view.cells)
    of_task: dict[tuple[str, str, str], list[Row]] = {}
    found: dict[Key, dict[str, Held]] = {}
    for row in view.table.rows:
        cell = places.cell(row.run.file)
        of_task.setdefault((cell.name, row.run.run_id, row.task.task), []).append(row)
        own = found.setdefault((cell.task, row.contest), {}) if row.headline else {}
        if row.headline and (cell.run not in own or _newer(row, own[cell.run].row)):
            own[cell.run] = Held(cell, row)
    for own in found.values():
        for one in own.values():
            rows = of_task[one.cell.name, one.row.run.run_id, one.row.task.task]
            one.others = sorted(rows, key=lambda row: not row.headline)
    return found


def _newer(row: Row, held: Row) -> bool:
    """Whether of two results of one cell the first counts: the full one, then the newer."""
    return (not row.task.limited, row.run.date) > (not held.task.limited, held.run.date)


def columns_of(view: View, held: Mapping[Key, Mapping[str, Held]]) -> list[Column]:
    """The columns, those of which nothing is done too."""
    by_task: dict[str, list[Contest]] = {}
    for task, contest in held:
        by_task.setdefault(task, []).append(contest)
    lm_eval = {cell.task: cell.evaluates or cell.task for cell in view.cells}
    columns: list[Column] = []
    for task in dict.fromkeys([*view.tasks, *by_task]):
        contests = by_task.get(task, [])
        if not contests:
            columns.append(Column(task, task, None, None, None))
            continue
        heads = _heads(contests, lm_eval.get(task, task))
        place = len(columns) if heads else None
        named = labels(contests)
        for contest in heads:
            label = task if len(heads) == 1 else f"{task}: {named[contest]}"
            columns.append(Column(task, label, contest, _up(held[task, contest]), None))
        for contest in contests:
            if contest not in heads:
                alike = [one for one in contests if one.task == contest.task]
                label = contest.task if len(alike) == 1 else named[contest]
                columns.append(Column(task, label, contest, _up(held[task, contest]), place))
    return columns


def _heads(contests: Sequence[Contest], task: str) -> list[Contest]:
    """Those of the task itself; of a file with one task that one; none of a tag."""
    heads = [contest for contest in contests if contest.task == task]
    if not heads and len({contest.task for contest in contests}) == 1:
        return list(contests)
    return heads


def _up(own: Mapping[str, Held]) -> bool | None:
    directions = {one.row.higher_is_better for one in own.values()} - {None}
    return directions.pop() if len(directions) == 1 else None
