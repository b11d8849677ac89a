"""Writing tables: whole files or none, and cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import os

from harness.leaderboard.rows import Table, long_columns
from harness.leaderboard.tables import wide
from harness.reports.files import write_cells


def write_csv(table: Table, path: str | os.PathLike[str]) -> None:
    """Write the long table: a line per run, task, metric and filter.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    columns = long_columns(table)
    lines = ([read(row) for _, read in columns] for row in table.rows)
    write_cells(path, [name for name, _ in columns], lines)


def write_wide(table: Table, path: str | os.PathLike[str]) -> None:
    """Write the wide table: a line per model and method, a column per headline metric.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    write_cells(path, *wide(table))
