"""``harness export``: results in the forms that others read."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import shown
from harness.reports.values import printable

if TYPE_CHECKING:
    from harness.leaderboard.rows import Skipped


class Form(StrEnum):
    """What results are exported to."""

    inspect = "inspect"
    eee = "eee"
    csv = "csv"


def export(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS",
            help="Results files of lm_eval, or folders to search for them.",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        Form,
        typer.Option(
            help="inspect: logs of Inspect. eee: records of every_eval_ever. csv: tables.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The folder to write; must be free.", show_default=False)
    ],
    show_text: Annotated[
        bool,
        typer.Option(
            "--show-text", help="Also texts of safety suites: prompts, outputs, judges' reasons."
        ),
    ] = False,
) -> None:
    """Export results and samples of lm_eval, whoever ran it, to what others read.

    Example: harness export results --to inspect --out logs
    """
    from harness.export.folder import write_folder

    made = write_folder(results, to.value, out, show_text=show_text, on_skip=_report)
    for line in made.told:
        print(shown(line))


def _report(skipped: Skipped) -> None:
    print(printable(f"skipped {skipped.path}: {skipped.reason}"), file=sys.stderr)
