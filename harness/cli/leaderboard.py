"""``harness leaderboard``: results files in, one leaderboard out."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, shown
from harness.reports.values import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.leaderboard.rows import Contest, Row, Share, Skipped, Table
    from harness.leaderboard.tables import Standing

_PATIENCE = 2.0
"""Seconds before progress is shown."""
_WIDEST = 32
"""Characters of a model's name in one line."""
_ROWS = 20
"""Of a task that are shown."""
_CONTESTS = 12
ARROWS = {True: "↑", False: "↓", None: ""}


def leaderboard(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS",
            help="Results files of lm_eval, or folders to search for them.",
            show_default=False,
        ),
    ],
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Long table: a line per run, task and metric.", show_default=False
        ),
    ] = None,
    wide: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Wide table: a line per model and method, a column per task.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One self-contained page.", show_default=False),
    ] = None,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Leaderboard",
    *,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail, and write nothing, if a file had to be skipped."),
    ] = False,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Show what share of this run's scores above chance the others retain: a model's "
            "name as on the leaderboard, a results file or folder.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="With --teacher: also what share of the gap from this run, the student before "
            "distillation, to the teacher they recover.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --html: link each result to its samples in this folder of harness view.",
            show_default=False,
        ),
    ] = None,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=VALUE",
            help="Fail if a run's result on a task is worse than this: lower, or higher where "
            "lower is better. TASK/METRIC=VALUE: a metric that is not its headline. Repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Turn results of lm_eval, whoever ran it, into one leaderboard.

    Without --csv, --wide or --html, only the summary is printed. Runs with --limit are never
    ranked above full ones.

    Example: harness leaderboard results --html leaderboard.html --fail-below testbed_grammar=0.9
    """
    from harness.artefacts.writing import check_writable
    from harness.leaderboard import compared, read_results, write_csv, write_html, write_wide
    from harness.leaderboard.reading import told
    from harness.leaderboard.relative import paths_of
    from harness.leaderboard.thresholds import missed, thresholds_of
    from harness.reports.page import check_view

    if base is not None and teacher is None:
        raise HarnessError("--base needs --teacher: the gap is between the two")

    if view is not None and html is None:
        raise HarnessError("--view needs --html: it is that page that links to samples")
    wanted = thresholds_of(fail_below or [])
    if view is not None:
        check_view(view)

    targets = [path for path in (csv, wide, html) if path is not None]
    if len({path.resolve() for path in targets}) < len(targets):
        raise HarnessError("--csv, --wide and --html must name different files")
    for option, path in (("--csv", csv), ("--wide", wide), ("--html", html)):
        if path is not None:
            check_writable(path, option)
    with _progress() as on_file:
        paths = paths_of(results, (teacher, base))
        table = read_results(paths, on_file=on_file, on_skip=_report)
    if strict and table.skipped:
        raise HarnessError(f"--strict: {told(table.skipped)}")
    if teacher is not None:
        table = compared(table, teacher=teacher, base=base)
    failed = missed(table, wanted)
    if csv is not None:
        write_csv(table, csv)
    if wide is not None:
        write_wide(table, wide)
    if html is not None:
        write_html(table, html, title=title, view=view)
    _summarise(table, targets)
    if failed:
        raise HarnessError(f"--fail-below: {'; '.join(failed)}")


def _report(skipped: Skipped) -> None:
    print(printable(f"skipped {skipped.path}: {skipped.reason}"), file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, for a person, and only when there is time to see it."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    started = monotonic()
    task = bar.add_task("reading results", total=None)

    def on_file(done: int, total: int) -> None:
        if monotonic() - started > _PATIENCE:
            bar.start()
            bar.update(task, completed=done, total=total)

    try:
        yield on_file
    finally:
        if bar.live.is_started:  # else older releases of rich end a line that was never begun
            bar.stop()


def _summarise(table: Table, written: list[Path]) -> None:
    from harness.leaderboard.matrix import in_order
    from harness.leaderboard.tables import labels, standings

    ranked = standings(row for row in table.rows if row.headline)
    named = labels(ranked)
    heads = in_order(ranked)
    first = _first(heads)
    for contest in (contest for contest in heads if contest in first):
        parts = sum(head == contest for head in heads.values())
        left_out = 0 if any(heads[one] == contest for one in first) else parts
        _print(named[contest], ranked[contest], table.shares, left_out)
    more = len(ranked) - len(first)
    left = [counted(more, "more comparison")] if more else []
    predicted = len({row.run.run_id for row in table.rows if row.predicted})
    told = (
        (predicted, "run", " predicted only"),
        (table.duplicates, "duplicate", " left out"),
        (len(table.skipped), "file", " skipped"),
        (table.others, "other JSON file", " without results"),
    )
    counts = [counted(len(table.runs), "run"), counted(len(table.rows), "row"), *left]
    counts += [counted(count, noun) + what for count, noun, what in told if count]
    for path in written:
        print(shown(f"wrote {path}"))
    print(", ".join(counts))


def _first(heads: Mapping[Contest, Contest | None]) -> set[Contest]:
    """The contests that are shown: those of no group, then parts of groups that fit whole."""
    first = [contest for contest, head in heads.items() if head is None][:_CONTESTS]
    for group in first:
        parts = [contest for contest, head in heads.items() if head == group]
        if len(first) + len(parts) <= _CONTESTS:
            first += parts
    return set(first)


def _print(name: str, standing: Sequence[Standing], shares: Sequence[str], parts: int) -> None:
    """One contest's rows on the terminal.

    In a comparison the shares stand in place of the interval: a narrow terminal has no room for
    both.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as Screen
    from rich.text import Text

    from harness.leaderboard.titles import apart, last, title

    console = Console(highlight=False)
    console.print(Text(printable(f"{name} {ARROWS[standing[0].row.higher_is_better]}"), "bold"))
    screen = Screen(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", expand=True)
    screen.add_column("", justify="right", no_wrap=True, width=3)
    screen.add_column("Model", overflow="fold", max_width=_WIDEST)
    screen.add_column("Method", overflow="fold", ratio=1, min_width=16)
    percentages = [(f"{name.capitalize()} %", 11) for name in shares]
    for column, width in (("Score", 8), *(percentages or [("95 % interval", 15)]), ("n", 7)):
        screen.add_column(column, justify="right", overflow="fold", min_width=width)
    shown_rows = standing[:_ROWS]
    differences = apart([(title(entry.row.run), entry.row.run) for entry in shown_rows])
    for entry, more in zip(shown_rows, differences, strict=True):
        rank = "–" if entry.rank is None else str(entry.rank)
        run = entry.row.run
        method = " · ".join(filter(None, [run.label or run.model_type, more]))
        cells = (rank, last(run.name), method, *numbers(entry.row, shares))
        screen.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(screen)
    rest = len(standing) - _ROWS
    notes = [f"{rest:,} more"] if rest > 0 else []
    notes += [counted(parts, "part") + " not shown"] if parts else []
    if notes:
        console.print(Text(f"    {', '.join(notes)}: --csv and --html have all", "dim"))
        console.print()


def numbers(row: Row, shares: Sequence[str] = ()) -> tuple[str, ...]:
    """Value, interval and number of documents as they are shown; shares in the interval's place."""
    value = "–" if row.value is None else f"{row.value:.4g}"
    known = row.ci95_low is not None and row.ci95_high is not None
    interval = f"{row.ci95_low:.3g} to {row.ci95_high:.3g}" if known else "–"
    mark = " limited" if row.task.limited else ""
    mark += " predicted only" if row.predicted else ""
    count = ("" if row.n is None else f"{row.n:,}") + mark
    behind = [_percent(getattr(row, name)) for name in shares] or [interval]
    return value, *behind, count


def _percent(share: Share | None) -> str:
    return "" if share is None else f"{share.value:.1f}"
