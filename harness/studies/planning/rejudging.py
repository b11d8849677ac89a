"""Another judge for what is generated already: ``harness score`` in the place of an lm-eval run.

``OUT/cells.json`` says of every cell that was ever planned its key, and its key without the judge.
Where a finished cell has the responses that a missing one would generate, they are judged anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass

from harness.artefacts.reading import read_record
from harness.artefacts.writing import write_json
from harness.errors import ArtefactError
from harness.judging.options import MAX_UNSCORED
from harness.studies.planning.keys import hashed
from harness.studies.units import Cell, Unit

_FILE = "cells.json"
_NONE, _SCOPE = "none", "judge_scope"


@dataclass(frozen=True)
class Known:
    """A cell that was planned.

    Args:
        folder: Its folder's name.
        key: Its key.
        unjudged: The same without who judges.
        scope: Its ``judge_scope``.
    """

    folder: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}$")]
    key: str
    unjudged: str
    scope: str | None = None


def finished_in(out: Path) -> list[Known]:
    """The cells of earlier plans that are there.

    Raises:
        ArtefactError: What is known of them is damaged.
    """
    file = out / _FILE
    if not file.exists():
        return []
    known = read_record(file, list[Known], ArtefactError)
    return [cell for cell in known if (out / "cells" / cell.folder).is_dir()]


def remember(cells: Sequence[Cell], out: Path) -> None:
    """Add a plan's cells to those that are known.

    Raises:
        HarnessError: It cannot be written.
    """
    known = {cell.folder: cell for cell in finished_in(out)}
    known |= {c.folder.name: _known(c) for c in cells}
    write_json(out / _FILE, TypeAdapter(list[Known]).dump_python(list(known.values())))


def _known(cell: Cell) -> Known:
    scope = (cell.config.get("metadata") or {}).get(_SCOPE)
    return Known(cell.folder.name, cell.key, cell.unjudged, None if scope is None else str(scope))


def rejudged(unit: Unit, finished: Sequence[Known], out: Path) -> Unit:
    """A cell as the judging of an earlier one's responses, where there is one; else as it is."""
    if not isinstance(unit, Cell) or unit.done or unit.key == unit.unjudged:
        return unit
    said = unit.config.get("metadata") or {}
    judge = said.get("judge")
    earlier = [cell for cell in finished if cell.unjudged == unit.unjudged]
    if not earlier or judge in (None, _NONE) or judge == {"model": _NONE}:
        return unit
    responses = out / "cells" / earlier[-1].folder
    given = judge if isinstance(judge, str) else json.dumps(judge, ensure_ascii=False)
    most = str(said.get("judge_max_unscored", MAX_UNSCORED))
    include = unit.config.get("include_path")
    scope = said.get(_SCOPE, "all" if earlier[-1].scope else None)
    return replace(
        unit,
        words=(
            *("harness", "score", str(responses), "--judge", given, "--max-unscored", most),
            *(("--scope", str(scope)) if scope else ()),
            *(("--include-path", str(include)) if include else ()),
            "--with-files",
        ),
        target="--out",
        needs=tuple(need for need in unit.needs if "/" in need),  # of cells; no model is made
        sharing=hashed(["score", judge]),
    )
