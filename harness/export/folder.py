"""A folder of exported results: it appears whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from harness.artefacts.making import making
from harness.artefacts.writing import appearing
from harness.errors import HarnessError
from harness.export.runs import Evaluations, counted, read

if TYPE_CHECKING:
    from harness.leaderboard.rows import Skipped

_WRITERS = {
    "inspect": "harness.export.inspect_logs",
    "eee": "harness.export.eee",
    "csv": "harness.export.tables",
    "hub": "harness.export.repository",
}
"""Of each form, the module whose ``check`` and ``write`` make it."""
_TO_LOOK = {"inspect": "to look: inspect view --log-dir {}"}


@dataclass(frozen=True)
class Made:
    """What was written, in a few lines for the user.

    Attributes:
        found: What was read.
        told: The lines.
    """

    found: Evaluations
    told: Sequence[str]


def check_free(folder: Path) -> None:
    """See that a folder can appear, before any work is done.

    Raises:
        HarnessError: It holds something already, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"--out {folder} exists already; choose another or remove it")


def write_folder(
    results: Sequence[Path],
    form: str,
    out: Path,
    *,
    show_text: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
    **more: str,
) -> Made:
    """Write results in one of the forms.

    Args:
        results: Results files, or folders that are searched at any depth.
        form: ``inspect``, ``eee``, ``csv`` or ``hub``.
        out: The folder to write.
        show_text: Whether texts of safety suites are written.
        on_skip: Called with each results file that is left out.
        **more: What the form's own writer takes.

    Raises:
        HarnessError: The folder is not free, there are no results, samples are damaged, or a
            package is missing.
    """
    check_free(out)
    writer = import_module(_WRITERS[form])
    writer.check()
    with making(out, "harness export", lambda: "nothing is written"):
        found = read(results, show_text=show_text, on_skip=on_skip)
        with appearing(out) as draft:
            told = writer.write(found, draft, **more)
    look = [_TO_LOOK[form].format(quote(str(out)))] if form in _TO_LOOK else []
    return Made(found, (f"wrote {out}: {told[0]}", *told[1:], *left_out(found), *look))


def left_out(found: Evaluations) -> Iterator[str]:
    """What is not in an export, in a few lines for the user."""
    if found.without_samples:
        yield (
            f"{counted(found.without_samples, 'task')} of {len(found.tasks)} without samples: "
            "lm_eval saves them with --log_samples"
        )
    if found.hidden:
        names = ", ".join(found.hidden)
        yield f"texts of {names} are not shown; --show-text writes them"
    if found.table.skipped:
        yield f"{counted(len(found.table.skipped), 'file')} skipped"
