"""``harness export``: results in the forms that others read."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, shown
from harness.reports.values import printable

if TYPE_CHECKING:
    from harness.leaderboard.rows import Skipped


class Form(StrEnum):
    """What results are exported to."""

    inspect = "inspect"
    eee = "eee"
    csv = "csv"
    hub = "hub"


class Kind(StrEnum):
    """Kinds of repositories on the hub."""

    dataset = "dataset"
    model = "model"


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
            help="inspect: logs of Inspect. eee: records of every_eval_ever. csv: tables. hub: a "
            "repository on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder to write; must be free. With --to hub: instead of an upload.",
            show_default=False,
        ),
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="With --to hub: the repository; it is made where there is none.",
            show_default=False,
        ),
    ] = None,
    repo_type: Annotated[
        Kind,
        typer.Option(help="Of the repository. In a model's the results are put on its card."),
    ] = Kind.dataset,
    public: Annotated[
        bool, typer.Option("--public/--private", help="Who may see a repository that is made.")
    ] = False,
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
    _check(to, out, repo)
    if repo is not None:
        from harness.export.sending import send
        from harness.export.upload import Repository

        where = Repository(name=repo, kind=repo_type.value, public=public)
        made = send(results, where, show_text=show_text, on_skip=_report)
    else:
        from harness.export.folder import write_folder

        assert out is not None
        more = {"kind": repo_type.value} if to is Form.hub else {}
        made = write_folder(results, to.value, out, show_text=show_text, on_skip=_report, **more)
    for line in made.told:
        print(shown(line))


def _check(to: Form, out: Path | None, repo: str | None) -> None:
    """See that it is said where to write.

    Raises:
        HarnessError: It is not, or twice.
    """
    if repo is not None and to is not Form.hub:
        raise HarnessError(f"--repo is for --to hub; --to {to.value} writes a folder: --out FOLDER")
    if to is Form.hub and (repo is None) == (out is None):
        raise HarnessError(
            "--to hub needs either --repo OWNER/NAME, to upload, or --out FOLDER, to look first"
        )
    if to is not Form.hub and out is None:
        raise HarnessError(f"--to {to.value} needs a folder to write: --out FOLDER")


def _report(skipped: Skipped) -> None:
    print(printable(f"skipped {skipped.path}: {skipped.reason}"), file=sys.stderr)
