"""Differences as a CSV file: a line a difference, and a line for what is not compared."""

from __future__ import annotations

import os
from dataclasses import fields

from harness.comparing.difference import Comparisons, Difference
from harness.reports.files import write_cells

COLUMNS = (*(field.name for field in fields(Difference)), "reason")


def write_csv(found: Comparisons, path: str | os.PathLike[str]) -> None:
    """Write the table; ``reason`` says why a line has no difference.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    lines = [*found.differences, *found.uncompared]
    write_cells(path, COLUMNS, ([getattr(line, name, None) for name in COLUMNS] for line in lines))
