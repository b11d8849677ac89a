"""``harness astral report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import HarnessError
from harness.reports.values import counted, printable


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Results files, or folders to search at any depth.")
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the page and its CSV files; must be free."),
    ],
    suite: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The suite that was run: coverage and costs are told from it."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RESULTS",
            help="Results of a run on the same suite that the others are compared with.",
        ),
    ] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Also show prompts, outputs and judges' reasons.")
    ] = False,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "ASTRAL",
    view: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Link runs to their samples in this folder of harness view.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Report runs of astral_safety, from their samples; texts stay out unless asked for.

    Example: harness astral report results/ --suite suite --out report
    """
    from harness.reports.page import check_view
    from harness_astral.report.folder import check_free, write_report
    from harness_astral.report.reading import read_runs
    from harness_astral.report.report import report_of

    check_free(out)
    if view is not None:
        check_view(view)
    found = read_runs(runs, show_text=show_text)
    base = read_runs([against], show_text=show_text) if against else []
    if len(base) > 1:
        raise HarnessError(f"--against {against} holds {len(base)} runs; name one results file")
    made = report_of(found, suite=suite, against=base[0] if base else None, show_text=show_text)
    page = write_report(made, out, title=title, view=view)
    runs_of = f"{counted(len(made.runs), 'run')} of {counted(len(made.runs[0].answers), 'input')}"
    typer.echo(f"{page}: {runs_of}")
    for one in made.comparisons:
        low, high = (100 * bound for bound in one.overall.interval)
        names = f"{printable(one.first)} against {printable(one.second)}"
        typer.echo(
            f"{names}: {100 * one.overall.difference:+.1f} points unsafe "
            f"({low:+.1f} to {high:+.1f}, Newcombe), McNemar p {one.overall.p:.2g}, "
            f"{one.overall.n} pairs"
        )
