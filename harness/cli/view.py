"""``harness view``: pages on which to read what models wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, shown
from harness.reports.values import printable

if TYPE_CHECKING:
    from harness.view import Written

_PATIENCE = 2.0


def view(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RESULTS",
            help="Results files of lm_eval --log_samples, or folders to search at any depth; with "
            "--serve alone the folder of pages.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the pages; one that this command wrote is replaced.",
            show_default=False,
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the pages to this machine until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="Port to serve on; 0 for any.", min=0, max=65535)
    ] = 8000,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Also show the texts of safety suites.")
    ] = False,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Samples",
) -> None:
    """Read what models wrote: runs side by side on the same documents.

    Example: harness view results --out view
    """
    from harness.view import check_port, write_view
    from harness.view import serve as serve_pages

    given = results or []
    if not given and (out is None or not serve):
        raise HarnessError(
            "give results of lm_eval --log_samples: harness view RESULTS --out FOLDER"
        )
    for path in given:
        if not path.exists():
            raise HarnessError(f"{path}: no such file or folder")
    folder = out
    if given and out is None:
        if not serve or len(given) > 1:
            raise HarnessError("--out FOLDER says where the pages are written")
        folder = given[0]
    elif given and out is not None:
        if serve:
            check_port(port)
        with _progress() as on_bytes:
            _tell(write_view(given, out, show_text=show_text, title=title, on_bytes=on_bytes))
    if serve and folder is not None:
        serve_pages(folder, port, lambda place: print(f"serving {place} until Ctrl-C", flush=True))


def _tell(made: Written) -> None:
    for reason in made.refused:
        print(printable(f"skipped {reason}"), file=sys.stderr)
    for reason in made.incomplete:
        print(printable(f"warning: {reason}"), file=sys.stderr)
    print(shown(f"wrote {made.page}"))
    counts = [
        _counted(made.samples, "sample"),
        _counted(made.documents, "document"),
        _counted(made.tasks, "task"),
        _counted(made.runs, "run"),
    ]
    left = (
        (made.hidden, "sample", " without texts (safety suites; --show-text shows them)"),
        (made.broken, "broken line", " left out"),
        (made.repeated, "repeated sample", " left out"),
        (made.cut, "text or list", " cut"),
        (made.missing, "task", " without samples"),
        (made.lost, "sample", " missing"),
    )
    counts += [_counted(count, noun) + what for count, noun, what in left if count]
    print(", ".join(counts))


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {'texts or lists' if noun == 'text or list' else noun + 's'}"


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, for a person, and only when there is time to see it."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    started = monotonic()
    task = bar.add_task("reading samples", total=None)

    def on_bytes(done: int, total: int) -> None:
        if monotonic() - started > _PATIENCE:
            bar.start()
            bar.update(task, completed=done, total=total)

    try:
        yield on_bytes
    finally:
        bar.stop()
