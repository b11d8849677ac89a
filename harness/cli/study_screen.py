"""What ``harness run`` shows: commands, what is done, how it goes, results."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from harness.cli.compare import show
from harness.cli.leaderboard import ARROWS, numbers
from harness.errors import shown
from harness.reports.values import printable
from harness.studies.planning.plan import Plan, by_hand
from harness.studies.running import Ended, failure, is_running
from harness.studies.units import Cell, Outcome, Unit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Screen

    from harness.comparing import Difference, Uncompared
    from harness.leaderboard import Row
    from harness.studies.closing import Closed

_NAMED = 3  # units that are named while they run
_LOOKS = 2.0  # a second, at which units are at work
_GAP = 3  # characters between columns
_DIFFERENCES = 16  # lines


class _Column(NamedTuple):
    """A column of results: a task of the study, and what stands above its values."""

    task: str
    title: str


def say_what_is_to_do(plan: Plan, units: Sequence[Unit]) -> None:
    """One line: how many units there are, and how many of them are to be run."""
    artefacts = len(plan.units) - len(plan.cells)
    done = sum(unit.done for unit in plan.units)
    again = sum(isinstance(unit, Cell) and unit.words[0] == "harness" for unit in units)
    print(
        printable(
            f"{plan.study.name}: {_counted(len(plan.cells), 'cell')}, "
            f"{_counted(artefacts, 'artefact')}; {done} done, {len(units)} to do"
            + (f" ({again} by judging saved responses)" if again else "")
        )
    )


def show_commands(plan: Plan, units: Sequence[Unit]) -> None:
    """Each unit with its command, as a person can type it."""
    to_do = {unit.name for unit in units}
    say_what_is_to_do(plan, units)
    for unit in plan.units:
        state = "to do" if unit.name in to_do else "done" if unit.done else "left"
        print(shown(f"{state:<7} {unit.name}"))
        print(shown(f"        {by_hand(unit)}"))


def show_status(plan: Plan, began: float | None = None) -> None:
    """Each unit: done, running, missing or failed, with its last line and its log.

    Args:
        plan: The study.
        began: When the run that is at work on it began, as ``time.time`` says it; None if none is.
    """
    states: Counter[str] = Counter()
    for unit in plan.units:
        failed = failure(unit)
        state = "done" if unit.done else "failed" if failed else "missing"
        if began is not None and is_running(unit, began):
            state, failed = "running", None
        states[state] += 1
        print(shown(f"{state:<7} {unit.name}"))
        if failed:
            print(shown(f"        {failed.error}"))
            print(shown(f"        {unit.log}"))
    told = ("done", "missing", "failed", *(["running"] if began is not None else []))
    print(", ".join(f"{states[state]} {state}" for state in told))


@contextmanager
def watching(units: Sequence[Unit], began: float) -> Iterator[Callable[[Outcome], None]]:
    """Shows how units end: on a terminal one bar, which names those at work, else a line a unit.

    Args:
        units: What is run.
        began: When, as ``time.time`` says it.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal and units:
        with _bar(console, units, began) as watch:
            yield watch
        return
    ended = 0

    def tell(outcome: Outcome) -> None:
        nonlocal ended
        ended += 1
        print(_line(outcome, f"{ended}/{len(units)} "), flush=True)

    yield tell


@contextmanager
def _bar(
    console: Console, units: Sequence[Unit], began: float
) -> Iterator[Callable[[Outcome], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeElapsedColumn,
    )
    from rich.text import Text

    waiting = {unit.name: unit for unit in units}

    class Working(ProgressColumn):
        """Names of the units whose log is being written."""

        max_refresh = 1 / _LOOKS

        def render(self, task: Task) -> Text:
            return Text(_at_work(list(waiting.values()), began))

    columns: tuple[ProgressColumn, ...] = (
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Working(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(units))

        def tell(outcome: Outcome) -> None:
            waiting.pop(outcome.unit, None)
            progress.advance(task)
            if outcome.error is not None:
                progress.console.print(_line(outcome), markup=False, soft_wrap=True)

        yield tell


def _line(outcome: Outcome, before: str = "") -> str:
    how = "done" if outcome.error is None else "FAILED"
    return printable(f"{before}{outcome.unit} {how} in {outcome.seconds:,.1f} s")


def _at_work(waiting: Sequence[Unit], began: float) -> str:
    """Names of the units whose log has been written to since the run began."""
    names = [unit.name for unit in waiting if is_running(unit, began)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return printable(", ".join(names[:_NAMED]) + more)


def show_failures(plan: Plan, ended: Ended) -> None:
    """What failed, with its last line and its log; what was not run, and for want of what."""
    by_name = {unit.name: unit for unit in plan.units}
    failed = {outcome.unit for outcome in ended.failed}
    for outcome in ended.failed:
        print(printable(f"failed: {outcome.unit}: {outcome.error}"), file=sys.stderr)
        print(shown(f"        {by_name[outcome.unit].log}"), file=sys.stderr)
    for unit in ended.left:
        want = [need for need in unit.needs if need in failed or not by_name[need].done]
        why = f": it needs {', '.join(want)}" if want else ""
        print(printable(f"not run: {unit.name}{why}"), file=sys.stderr)


def show_results(plan: Plan, closed: Closed, *, differences: bool = True) -> None:
    """Runs by tasks with intervals; differences from the baseline; and what was written."""
    from rich.console import Console

    console = Console(highlight=False)
    for columns in _side_by_side(plan, closed, console.width):
        console.print(_matrix(plan, closed, columns))
    for skipped in closed.table.skipped:
        print(printable(f"skipped {skipped.path}: {skipped.reason}"), file=sys.stderr)
    if differences and closed.compared and plan.study.baseline:
        some = _told_first(plan, closed.compared.differences)
        show(some, _surprising(plan, closed.compared.uncompared), plan.study.baseline)
        if more := len(closed.compared.differences) - len(some):
            print(f"… and {more} more differences in comparisons.csv")
    names = ", ".join(file.name for file in closed.files[:-1])
    print(shown(f"wrote {names} in {plan.study.out}"))
    print(shown(f"report: {closed.files[-1]}"))
    if closed.samples is not None:
        print(shown(f"samples: {closed.samples}"))


def _told_first(plan: Plan, differences: Sequence[Difference]) -> list[Difference]:
    """Differences for a screen: of the study's own tasks, not of a group's, and not too many."""
    own = {cell.task for cell in plan.cells}
    return sorted(differences, key=lambda one: one.task not in own)[:_DIFFERENCES]


def _surprising(plan: Plan, uncompared: Sequence[Uncompared]) -> list[Uncompared]:
    """What is not compared, without tasks that by the study's own file one of the two has not."""
    asked = {(cell.run, cell.task) for cell in plan.cells}
    return [one for one in uncompared if {(one.run, one.task), (one.baseline, one.task)} <= asked]


def _side_by_side(plan: Plan, closed: Closed, width: int) -> Iterator[list[_Column]]:
    """The columns of the matrix, in as many tables as a screen's width makes of them."""
    left = width - max(map(len, plan.variants))
    some: list[_Column] = []
    room = left
    for column in _columns(plan, closed):
        cells = [_value(_row(closed, variant, column)) for variant in plan.variants]
        needed = _GAP + max(map(len, [*column.title.split("\n"), *cells]))
        if some and needed > room:
            yield some
            some, room = [], left
        some.append(column)
        room -= needed
    if some:
        yield some


def _columns(plan: Plan, closed: Closed) -> list[_Column]:
    """In the order of the study's file; a tag of several tasks has several."""
    found: dict[_Column, None] = {}
    for task in plan.study.tasks:
        for variant in plan.variants:
            rows = closed.headlines.get(f"{variant}/{task.name}", ())
            found |= {_column(task.name, row): None for row in rows}
    return list(found)


def _column(task: str, row: Row) -> _Column:
    name = row.task.task if row.task.task == task else f"{task}: {row.task.task}"
    limited = ", limited" if row.task.limited else ""
    title = f"{printable(name)}\n{printable(row.metric)} {ARROWS[row.higher_is_better]}{limited}"
    return _Column(task, title)


def _row(closed: Closed, variant: str, column: _Column) -> Row | None:
    rows = closed.headlines.get(f"{variant}/{column.task}", ())
    return next((row for row in rows if _column(column.task, row) == column), None)


def _matrix(plan: Plan, closed: Closed, columns: Sequence[_Column]) -> Screen:
    from rich import box
    from rich.table import Table as Screen
    from rich.text import Text

    screen = Screen(box=box.SIMPLE_HEAD, pad_edge=False)
    screen.add_column("", overflow="fold")
    for column in columns:
        screen.add_column(Text(column.title), justify="right", overflow="fold")
    for variant in plan.variants:
        rows = [_row(closed, variant, column) for column in columns]
        if any(rows):
            screen.add_row(*map(Text, [printable(variant), *map(_value, rows)]))
    return screen


def _value(row: Row | None) -> str:
    """A value with its interval; a dash where there is none."""
    if row is None:
        return "–"
    value, interval, _ = numbers(row)
    return printable(value if interval == "–" else f"{value} ({interval})")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
