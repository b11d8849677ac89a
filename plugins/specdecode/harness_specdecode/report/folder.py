"""The folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.artefacts.recipes import write_manifest
from harness.artefacts.writing import appearing, write_text
from harness.reports.files import Cell, write_cells
from harness_specdecode.measuring.along import Position
from harness_specdecode.measuring.costs import LIBRARIES
from harness_specdecode.report.page import render
from harness_specdecode.report.table import COLUMNS, Result, cells

MANIFEST, PAGE, TABLE, AGREEMENT = "bench.json", "report.html", "table.csv", "agreement.csv"
_FORM = "specdecode-bench/1"
_POSITION = (
    "total_variation", "lower_bound", "agreement_optimal", "agreement_gumbel", "agreement_minhash",
    "given_optimal", "given_gumbel", "given_minhash", "empirical_optimal", "empirical_gumbel",
    "empirical_minhash",
)  # fmt: skip


def write_report(folder: Path, recipe: Mapping[str, Any], result: Result) -> Path:
    """Write the folder.

    Args:
        folder: Where; nothing may be there.
        recipe: What the bench follows from.
        result: What it found.

    Returns:
        The page.

    Raises:
        ArtefactError: Something is there, or the folder cannot be written.
    """
    page = render(recipe, result)
    with appearing(folder) as draft:
        write_cells(draft / TABLE, COLUMNS, map(cells, result.lines))
        write_cells(
            draft / AGREEMENT,
            ("drafter", "prompt", "position", *_POSITION),
            [line for name, along in result.along.items() for line in _positions(name, along)],
        )
        write_text(draft / PAGE, page)
        lines = [asdict(line) for line in result.lines]
        facts = {**result.facts, "lines": lines}
        write_manifest(draft, _FORM, recipe, facts, LIBRARIES, name=MANIFEST)
    return folder / PAGE


def _positions(name: str, along: list[list[Position]]) -> list[list[Cell]]:
    """A line a position: closed forms, and shares of draws where it was sampled."""
    return [
        [name, prompt, at, *(_number(position.get(column)) for column in _POSITION)]
        for prompt, answer in enumerate(along)
        for at, position in enumerate(answer)
    ]


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
