"""Thresholds that results must reach: ``TASK=VALUE``, ``TASK/METRIC=VALUE``.

A result misses its threshold where it is worse: lower, or higher where lower is better; where it is
not known which is better, lower. A result without a value misses it too. Each run that has the task
is held to it, by the result that counts on the leaderboard; a run without the task is not. A run on
part of the data is held to it as well: that is what is run between changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from harness.errors import HarnessError
from harness.leaderboard.rows import Row, Table
from harness.leaderboard.tables import current_rows
from harness.reports.values import printable

_OPTION = "--fail-below"


@dataclass(frozen=True)
class Threshold:
    """What a task must reach.

    Attributes:
        name: A task, or a task and a metric with a slash between them.
        value: What must be reached.
    """

    name: str
    value: float


def thresholds_of(given: Sequence[str]) -> list[Threshold]:
    """What was asked for on the command line.

    >>> thresholds_of(["arc/acc_norm=0.5"])
    [Threshold(name='arc/acc_norm', value=0.5)]

    Raises:
        HarnessError: It is not of the form, or the value is no number.
    """
    found = []
    for text in given:
        name, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name.strip() or not math.isfinite(number):
            raise HarnessError(
                f"{_OPTION} {text}: a task and a number are wanted, TASK=VALUE or TASK/METRIC=VALUE"
            )
        found.append(Threshold(name.strip(), number))
    return found


def missed(table: Table, thresholds: Sequence[Threshold]) -> list[str]:
    """Results that are worse than asked, a few words each, which name run, task and value.

    Raises:
        HarnessError: No result is of a task, or of a metric, that was named.
    """
    rows = current_rows(table.rows)
    return [
        _told(row, threshold.value)
        for threshold in thresholds
        for row in _meant(rows, threshold.name)
        if _worse(row, threshold.value)
    ]


def _meant(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows that a threshold is of: a task's headline, or one of its metrics."""
    own = [row for row in rows if row.task.task == name]
    if own:
        return [row for row in own if row.headline]
    task, _, metric = name.rpartition("/")
    own = [row for row in rows if row.task.task == task]
    if not own:
        names = {row.task.task for row in rows}
        raise HarnessError(f"{_OPTION} {name}: no result is of this task; {_near(name, names)}")
    found = [row for row in own if metric in (row.metric, f"{row.metric},{row.filter}")]
    if not found:
        names = {row.metric for row in own}
        raise HarnessError(
            f"{_OPTION} {name}: {task} has no metric {metric}; {_near(metric, names)}"
        )
    return found


def _near(name: str, known: set[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    first = sorted(known)[:12]
    more = f" and {len(known) - len(first)} more" if len(known) > len(first) else ""
    return f"there are {', '.join(first)}{more}"


def _worse(row: Row, value: float) -> bool:
    if row.value is None:
        return True
    return row.value > value if row.higher_is_better is False else row.value < value


def _told(row: Row, value: float) -> str:
    run = f"{row.run.name} ({row.run.label or row.run.model_type}, {row.run.file})"
    task = row.task.task if row.headline else f"{row.task.task}/{row.metric}"
    if row.value is None:
        return printable(f"{run} has no value on {task}, which must reach {value:g}")
    side = "above" if row.higher_is_better is False else "below"
    short = f"{row.value:.6g}"
    told = short if float(short) != value else repr(row.value)
    return printable(f"{run} has {told} on {task}, {side} {value:g}")
