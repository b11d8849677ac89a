"""What a reader asks first: who is best at what, by how much, is it real, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from harness.comparing.difference import Difference
from harness.studies.report.columns import Column
from harness.studies.report.matrix import Entry, Matrix, better, ranked, sure
from harness.studies.report.view import Cost, View


@dataclass(frozen=True)
class Answer:
    """The best of a task.

    Attributes:
        column: The task.
        run: The run with the best value.
        entry: What it has.
        tied: Runs that are not shown to be worse.
        worse: How many runs are really worse than the baseline.
        compared: How many were compared with it.
        cost: What its cell cost.
        base_cost: What the baseline's did.
    """

    column: Column
    run: str
    entry: Entry
    tied: Sequence[str]
    worse: int
    compared: int
    cost: Cost
    base_cost: Cost | None


@dataclass(frozen=True)
class Spent:
    """A sum over cells.

    Attributes:
        value: Of those that say; None if none does.
        whole: Whether all do.
    """

    value: float | None
    whole: bool


@dataclass(frozen=True)
class Account:
    """What a run cost, and what came of it.

    Attributes:
        run: Its name.
        cells: How many of its cells are done.
        seconds: What they took.
        times: The same over the baseline's, for as many answers, on the tasks that both have done.
        tokens: What they generated.
        judge_calls: What they asked judges.
        better: Tasks on which it is better than the baseline.
        worse: Tasks on which it is worse.
        compared: Tasks on which the two were compared.
    """

    run: str
    cells: int
    seconds: Spent
    times: float | None
    tokens: Spent
    judge_calls: Spent
    better: int
    worse: int
    compared: int


def answers(view: View, matrix: Matrix) -> list[Answer]:
    """The best of each of the study's tasks; the task of gains first."""
    found: list[Answer] = []
    for place, column in enumerate(matrix.columns):
        own = matrix.column(place)
        scored = ranked({run: one.row for run, one in own.items()})
        if column.head is not None or column.up is None or not scored:
            continue
        sign = -1 if column.up else 1
        order = sorted(
            (run for run in view.runs if run in scored),
            key=lambda run: sign * (scored[run].value or 0.0),
        )
        best = next((run for run in order if own[run].best), order[0])
        base = own.get(view.baseline or "")
        differences = [one.difference for one in own.values() if tested(one.difference)]
        found.append(
            Answer(
                column=column,
                run=best,
                entry=own[best],
                tied=[run for run in order if own[run].best and run != best],
                worse=sum(sure(d) and better(d) is False for d in differences),
                compared=len(differences),
                cost=view.costs.get(own[best].cell.name, Cost()),
                base_cost=view.costs.get(base.cell.name) if base else None,
            )
        )
    return sorted(found, key=lambda one: one.column.of != view.gain)


def accounts(view: View, matrix: Matrix) -> list[Account]:
    """What each run cost, all its cells together, and how often it is better or worse."""
    names: dict[str, dict[str, str]] = {run: {} for run in view.runs}
    for (run, _), entry in matrix.entries.items():
        names[run][entry.cell.name] = entry.cell.task
    costs = {
        run: [(task, view.costs.get(name, Cost())) for name, task in own.items()]
        for run, own in names.items()
    }
    compared = _compared(view, matrix)
    return [
        Account(
            run=run,
            cells=len(own),
            seconds=spent(cost.seconds for _, cost in own),
            times=times(own, costs.get(view.baseline or "", [])),
            tokens=spent(cost.tokens for _, cost in own),
            judge_calls=spent(cost.judge_calls for _, cost in own),
            better=sum(sure(d) and better(d) is True for d in compared[run]),
            worse=sum(sure(d) and better(d) is False for d in compared[run]),
            compared=len(compared[run]),
        )
        for run, own in costs.items()
        if own
    ]


def times(own: Sequence[tuple[str, Cost]], base: Sequence[tuple[str, Cost]]) -> float | None:
    """How many times the baseline's seconds a run took, over tasks of which both are known.

    A run may have more rows of a task, one for each factor: the baseline's seconds are taken for as
    many as the run has.

    >>> times([("a", Cost(seconds=3.0)), ("b", Cost())], [("a", Cost(seconds=2.0))])
    1.5
    >>> times([("a", Cost(seconds=30.0, answers=20))], [("a", Cost(seconds=2.0, answers=2))])
    1.5
    """
    found = dict(base)
    taken = whole = 0.0
    for task, cost in own:
        other = found.get(task, Cost())
        if cost.seconds is not None and other.seconds:
            taken += cost.seconds
            whole += other.seconds * (cost.answers or 1) / (other.answers or 1)
    return taken / whole if whole else None


def tested(difference: Difference | None) -> TypeGuard[Difference]:
    """Whether two runs were compared, and not on too few units to say anything."""
    return difference is not None and difference.p_holm is not None


def spent(values: Iterable[float | None]) -> Spent:
    """A sum of what is known.

    >>> spent([1.5, None, 2.0])
    Spent(value=3.5, whole=False)
    """
    given = list(values)
    known = [value for value in given if value is not None]
    return Spent(sum(known) if known else None, len(known) == len(given))


def _compared(view: View, matrix: Matrix) -> Mapping[str, Sequence[Difference]]:
    """Differences from the baseline on the study's tasks, without the parts of groups."""
    found: dict[str, list[Difference]] = {run: [] for run in view.runs}
    for (run, place), entry in matrix.entries.items():
        if tested(entry.difference) and matrix.columns[place].head is None:
            found[run].append(entry.difference)
    return found
