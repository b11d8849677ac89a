"""Which cell of a study a results file belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.studies.report.view import StudyCell


class Places:
    """Cells by their folders.

    Args:
        cells: The study's.
    """

    def __init__(self, cells: Iterable[StudyCell]) -> None:
        self._cells = {cell.folder.resolve(): cell for cell in cells}
        self._known: dict[str, StudyCell] = {}

    def cell(self, file: str) -> StudyCell:
        """The cell in whose folder, at any depth, a file lies.

        Raises:
            HarnessError: It is in none.
        """
        if file not in self._known:
            folders = (self._cells.get(folder) for folder in Path(file).resolve().parents)
            found = next((cell for cell in folders if cell is not None), None)
            if found is None:
                raise HarnessError(f"{file} is in the folder of no cell of this study")
            self._known[file] = found
        return self._known[file]
