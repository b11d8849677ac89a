"""The end of a study: one leaderboard over its finished cells, and what else is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.leaderboard import Row, Table, read_results, write_csv, write_html, write_wide
from harness.studies.plan import Plan
from harness.studies.units import Cell


@dataclass(frozen=True)
class Closed:
    """What a study has come to.

    Args:
        table: All results of its finished cells.
        headlines: The headline rows of each cell by its name; of a tag several.
        files: What was written.
    """

    table: Table
    headlines: Mapping[str, Sequence[Row]]
    files: Sequence[Path]


def close(plan: Plan) -> Closed | None:
    """Write the leaderboard of a plan's finished cells; None where none is finished.

    Raises:
        HarnessError: No results can be read, or a file cannot be written.
    """
    cells = [cell for cell in plan.cells if cell.done]
    if not cells:
        return None
    out = plan.study.out
    table = read_results([cell.folder for cell in cells])
    files = [out / name for name in ("leaderboard.csv", "leaderboard_wide.csv", "leaderboard.html")]
    write_csv(table, files[0])
    write_wide(table, files[1])
    write_html(table, files[2], title=plan.study.name)
    return Closed(table, _headlines(table, cells), files)


def _headlines(table: Table, cells: Sequence[Cell]) -> dict[str, list[Row]]:
    """The headline rows of each cell: those of its task or group, else of all tasks in it."""
    by_folder: dict[Path, list[Row]] = {}
    for row in table.rows:
        if row.headline:
            for folder in Path(row.run.file).parents:
                by_folder.setdefault(folder, []).append(row)
    found = {}
    for cell in cells:
        rows = by_folder.get(cell.folder, [])
        found[cell.name] = [row for row in rows if row.task.task == cell.task] or rows
    return found
