"""The report's folder: page, JSON lines and table, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness import ArtefactError, HarnessError
from harness.artefacts.writing import appearing, check_writable, write_lines, write_text
from harness.reports.files import write_cells
from harness_factcg.assessing.assessment import Assessment
from harness_factcg.report.page import render
from harness_factcg.report.records import COLUMNS, cells, record
from harness_factcg.report.summary import About

PAGE, LINES, TABLE = "report.html", "scores.jsonl", "scores.csv"
_DUMPS = partial(json.dumps, ensure_ascii=False, allow_nan=False)


def check_free(folder: Path) -> None:
    """See that a folder can appear, before any work is done.

    Raises:
        HarnessError: It holds something already, it is a file, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"--out {folder} exists already; choose another or remove it")
    check_writable(folder)


def write_report(found: Sequence[Assessment], folder: Path, about: About, *, title: str) -> Path:
    """Write the folder.

    Args:
        found: The assessed claims, in the order of the input.
        folder: Where; nothing may be there.
        about: How they were assessed.
        title: The page's heading.

    Returns:
        The page.

    Raises:
        HarnessError: Something is there, or the folder cannot be written.
    """
    check_free(folder)
    lines = [record(one, row) for row, one in enumerate(found, start=1)]
    try:
        with appearing(folder) as draft:
            write_lines(draft / LINES, lines, dumps=_DUMPS)
            write_cells(draft / TABLE, COLUMNS, map(cells, lines))
            write_text(draft / PAGE, render(found, about, title))
    except ArtefactError as cause:
        why = getattr(cause.__cause__, "strerror", None) or cause
        raise HarnessError(f"cannot write {folder}: {why}") from cause
    return folder / PAGE
