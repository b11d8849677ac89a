"""Tables whose cells no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, TextIO, TypeAlias

from harness.artefacts.writing import replacing_text
from harness.errors import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Cell: TypeAlias = "str | int | float | bool | None"

_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def defuse(cell: Cell) -> str | int | float:
    """A cell as it goes into a CSV file.

    Spreadsheets run text that starts with ``= + - @`` as a formula, so such text gets a leading
    apostrophe; so does text that starts with an apostrophe, which keeps this reversible: take
    one leading apostrophe off. Numbers, negative ones too, stay numbers. Control characters, which
    a terminal would obey, are escaped; tabs and line feeds stay.

    >>> defuse("=HYPERLINK(1)"), defuse(-0.5), defuse(True), defuse(None)
    ("'=HYPERLINK(1)", -0.5, 'true', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if not isinstance(cell, str):
        return cell
    told = shown(cell)
    return "'" + told if cell.startswith(_TRIGGERS) else told


class _Lines:
    """Ends lines with a bare line feed.

    The csv module quotes a carriage return inside a cell only if its own line end has one; not
    quoted, it would start a new line, past every check of what a cell may start with.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """Write one line as the csv module hands it over."""
        return self._file.write(line.removesuffix("\r\n") + "\n")


def write_cells(
    path: str | os.PathLike[str], header: Sequence[str], lines: Iterable[Sequence[Cell]]
) -> None:
    """Write a CSV file of defused cells.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    with replacing_text(path) as file:
        writer = csv.writer(_Lines(file), lineterminator="\r\n")
        writer.writerow([defuse(name) for name in header])
        writer.writerows([defuse(cell) for cell in line] for line in lines)
