"""The folder of pages: written in one pass over the samples, and whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.artefacts.locks import alone
from harness.artefacts.reading import read_record
from harness.artefacts.writing import appearing, check_writable, write_json
from harness.errors import HarnessError
from harness.leaderboard import read_results
from harness.view.runs import runs_of
from harness.view.writing import Progress, Writing

MARK = "view.json"
_MADE_BY = "harness view"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, and what was left out.

    Args:
        page: The page to open.
        runs: Runs with samples.
        tasks: Tasks.
        documents: Documents.
        samples: Samples.
        hidden: Samples whose texts are left out.
        broken: Lines that are no samples.
        cut: Texts and lists that were too long.
        repeated: Samples of a document that the same file has already.
        missing: Tasks of runs without samples.
        lost: Samples that the results speak of and no file has.
        incomplete: Which files lack them.
        refused: Why files were not read.
    """

    page: Path
    runs: int
    tasks: int
    documents: int
    samples: int
    hidden: int
    broken: int
    cut: int
    repeated: int
    missing: int
    lost: int
    incomplete: tuple[str, ...]
    refused: tuple[str, ...]


def write_view(
    paths: Iterable[str | os.PathLike[str]],
    out: Path,
    *,
    show_text: bool = False,
    title: str = "Samples",
    names: Mapping[str, str] | None = None,
    key: str = "",
    on_bytes: Progress | None = None,
) -> Written:
    """Write pages on which the samples of runs can be read.

    Args:
        paths: Results files of ``lm_eval --log_samples``, or folders of them.
        out: The folder of pages; one that was written so before is replaced, another must be free.
        show_text: Also show the texts of safety suites.
        title: The page's heading.
        names: Names of runs by the real path of their results file; of one name is one run.
        key: What the pages are made of, for ``key_of``.
        on_bytes: Called with the bytes read so far and those of all samples.

    Raises:
        HarnessError: There are no samples, or the folder cannot be written; what was there before
            is untouched.
    """
    check_free(out)
    check_writable(out)
    table = read_results(paths)
    runs = runs_of(table, names or {})
    with alone(out, _MADE_BY):
        check_free(out)
        fresh = out.with_name(f".{out.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        with appearing(fresh) as draft:
            made = Writing(draft, runs, show_text=show_text, on_bytes=on_bytes)
            written = made.write(title, out)
            write_json(draft / MARK, {"made_by": _MADE_BY, "key": key})
        _swap(fresh, out)
    skipped = tuple(f"{one.path}: {one.reason}" for one in table.skipped)
    return Written(**written, refused=(*skipped, *(r for run in runs for r in run.refused)))


def check_free(out: Path) -> None:
    """See that a folder is free, or holds pages that may be replaced.

    Raises:
        HarnessError: It holds something else.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise HarnessError(f"--out {out} is no folder; name another")
    if out.is_dir() and any(out.iterdir()) and not is_view(out):
        raise HarnessError(f"--out {out} holds something else than pages of samples; name another")


def is_view(folder: Path) -> bool:
    """Whether a folder holds pages that ``write_view`` wrote."""
    return key_of(folder) is not None


def key_of(folder: Path) -> str | None:
    """What the pages in a folder were made of, as ``write_view`` was told; None for no pages."""
    mark = folder / MARK
    if not mark.is_file() or mark.is_symlink():
        return None
    try:
        said = read_record(mark, dict[str, Any])
    except HarnessError:
        return None
    return str(said.get("key", "")) if said.get("made_by") == _MADE_BY else None


def _swap(fresh: Path, out: Path) -> None:
    """Put a new folder in the place of an old one."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if out.exists():
            out.replace(old)
        fresh.replace(out)
    except OSError as cause:
        if old.exists() and not out.exists():
            old.replace(out)
        raise HarnessError(f"{out} cannot be replaced: {cause.strerror}") from cause
    shutil.rmtree(old, ignore_errors=True)
