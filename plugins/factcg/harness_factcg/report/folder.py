"""The report's folder: page, JSON lines and table, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import HarnessError
from harness.artefacts.writing import check_writable
from harness.reports.files import write_cells
from harness_factcg.assessing.assessment import Assessment
from harness_factcg.report.page import render
from harness_factcg.report.records import COLUMNS, cells, record
from harness_factcg.report.summary import About

PAGE, LINES, TABLE = "report.html", "scores.jsonl", "scores.csv"


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
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    lines = [record(one, row) for row, one in enumerate(found, start=1)]
    try:
        draft.mkdir(parents=True)
        with (draft / LINES).open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines
            )
        write_cells(draft / TABLE, COLUMNS, map(cells, lines))
        page = render(found, about, title)
        (draft / PAGE).write_text(page, encoding="utf-8", newline="\n")
        draft.rename(folder)
    except OSError as cause:
        raise HarnessError(f"cannot write {folder}: {cause.strerror or cause}") from cause
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / PAGE
