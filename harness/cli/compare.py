"""``harness compare``: runs against one of them, on the same documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.leaderboard import ARROWS
from harness.errors import HarnessError, shown
from harness.reports.values import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table as Screen

    from harness.comparing import Difference, Uncompared

_LISTED = 20


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Results files of lm_eval --log_samples, or folders of one model and method each.",
            show_default=False,
        ),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="What the others are compared with: one of the runs, by its path or its name; "
            "default: the first.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="All differences as a table.", show_default=False),
    ] = None,
    *,
    all_metrics: Annotated[
        bool,
        typer.Option("--all-metrics", help="All metrics; default: each task's headline metric."),
    ] = False,
    subtasks: Annotated[
        bool,
        typer.Option("--subtasks", help="Also the tasks of a group that is compared as a whole."),
    ] = False,
) -> None:
    """Say whether runs differ from a baseline: paired by document, corrected by Holm.

    Intervals are of 95 %, by a bootstrap over documents or concepts; metrics of 0 and 1 have exact
    McNemar tests. What is not compared is listed with its reason.

    Example: harness compare results/plain results/steered --baseline plain --csv differences.csv
    """
    from harness.artefacts.writing import check_writable
    from harness.comparing import compare as compare_runs
    from harness.comparing import named, write_csv

    if csv is not None:
        check_writable(csv, "--csv")
    given = [*runs, Path(baseline)] if baseline and Path(baseline).exists() else runs
    known = named(given)
    if len(known) < 2:
        raise HarnessError("one run is nothing to compare: give two, a results file or folder each")
    chosen = next(iter(known)) if baseline is None else _chosen(known, baseline)
    found = compare_runs(known, chosen, all_metrics=all_metrics, subtasks=subtasks)
    if csv is not None:
        write_csv(found, csv)
    show(found.differences, found.uncompared, chosen)
    if csv is not None:
        print(shown(f"wrote {csv}"))
    if not found.differences:
        raise HarnessError("nothing could be compared; the reasons are above")


def _chosen(known: dict[str, list[Path]], baseline: str) -> str:
    """The run that the user calls so.

    Raises:
        HarnessError: There is none.
    """
    place = Path(baseline).resolve()
    for name, paths in known.items():
        if name == baseline or place in [path.resolve() for path in paths]:
            return name
    raise HarnessError(f"--baseline {baseline} is none of the runs: {', '.join(known)}")


def show(differences: Sequence[Difference], uncompared: Sequence[Uncompared], name: str) -> None:
    """Print differences from a baseline of this name, and what is not compared."""
    from rich.console import Console

    console = Console(highlight=False)
    if differences:
        print(printable(f"Against {name}, on the same documents"))
        console.print(_screen(differences))
        if any(one.left_out or one.units != one.documents for one in differences):
            print("n: documents/units that are resampled −those that only one run has")
    for line in _told(uncompared):
        print(printable(line))


def _screen(differences: Sequence[Difference]) -> Screen:
    from rich import box
    from rich.table import Table as Screen
    from rich.text import Text

    screen = Screen(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    screen.add_column("Task and run", overflow="fold")
    for column in ("Score", "Change", "95 % interval", "p", "Holm", "n"):
        screen.add_column(column, justify="right", no_wrap=True)
    head = None
    for one in differences:
        filtered = "" if one.filter == "none" else f", {one.filter}"
        arrow = ARROWS[one.higher_is_better]
        title = f"{one.task} ({one.metric}{filtered}) {arrow}"
        if title != head:
            if head is not None:
                screen.add_section()
            screen.add_row(Text(printable(title), "bold"), f"{one.baseline_value:.4g}")
            head = title
        style = "bold" if one.p_holm is not None and one.p_holm < 0.05 else ""
        screen.add_row(*(Text(printable(cell), style) for cell in _cells(one)))
    return screen


def _cells(one: Difference) -> tuple[str, ...]:
    known = one.low is not None and one.high is not None
    interval = f"{_signed(one.low)} to {_signed(one.high)}" if known else "–"
    units = "" if one.units == one.documents else f"/{one.units:,}"
    left = f" −{one.left_out:,}" if one.left_out else ""
    numbers = (f"{one.value:.4g}", _signed(one.difference), interval, _p(one.p), _p(one.p_holm))
    return one.run, *numbers, f"{one.documents:,}{units}{left}"


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:+.3f}" if abs(value) < 10 else f"{value:+.4g}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "<.001" if value < 0.001 else f"{value:.3f}"


def _told(uncompared: Sequence[Uncompared]) -> Iterator[str]:
    """A line for each reason, with the tasks that have it."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for one in uncompared:
        tasks.setdefault((one.run, one.reason), []).append(one.task)
    for place, ((run, reason), names) in enumerate(tasks.items()):
        if place == _LISTED:
            yield f"… and {len(tasks) - _LISTED} more reasons"
            return
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"not compared: {', '.join(names[:3])}{more} of {run}: {reason}"
