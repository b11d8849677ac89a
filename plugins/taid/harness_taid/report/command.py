"""``harness taid report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    students: Annotated[
        list[Path],
        typer.Argument(
            metavar="STUDENT…", help="Folders of distilled students, or folders to search for them."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The HTML file.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RESULTS",
            help="Results of lm_eval with taid_fidelity: files, or folders to search; may be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Distillation",
    view: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Link runs of --results to their samples in this folder of harness view.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw distillations: t over steps, losses, validation, and fidelity by objective.

    Example: harness taid report student --out distillation.html
    """
    from harness.artefacts.writing import check_writable
    from harness.reports.page import check_view
    from harness.reports.values import counted
    from harness_taid.report.page import write_report
    from harness_taid.report.reading import read_comparisons, read_students

    check_writable(out)
    if view is not None:
        check_view(view)
    found = read_students(students)
    comparisons = read_comparisons(results, found) if results else []
    write_report(found, comparisons, out, title=title, view=view)
    typer.echo(f"{out}: {counted(len(found), 'student')}")
