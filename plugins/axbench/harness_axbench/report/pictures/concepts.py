"""Concepts: a row each, a column a method; the deeper the colour, the higher the value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reports.figures import BASE, SMALL, draw, fitted, panel, write
from harness.reports.files import Cell
from harness.reports.names import write_name
from harness.reports.values import counted
from harness_axbench.report.curves import Standing, per_concept
from harness_axbench.report.pictures.parts import (
    WHO,
    WIDTH,
    Picture,
    headline_of,
    name_of,
    number,
    who,
)
from harness_axbench.report.reading import DETECTION, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_ROWS = 40
"""The most concepts that get a row with name and numbers."""
_UPRIGHT = 60.0
"""The least width of a column whose name is written across."""


@dataclass(frozen=True)
class _Grid:
    """Where cells lie, in pixels, and the values of no and of full colour."""

    left: float
    wide: float
    tall: float
    named: bool
    none: float
    full: float

    @classmethod
    def of(cls, section: Section, table: Sequence[tuple[int, Sequence[float]]]) -> _Grid:
        n_rows, n_columns = len(table), len(table[0][1])
        named = n_rows <= NAMED_ROWS
        left = 340.0 if named else 0.0
        tall = 24.0 if named else max(1.0, min(6.0, 720.0 / n_rows))
        wide = min(130.0, (WIDTH - left) / n_columns)
        if section.family == DETECTION:
            return cls(left, wide, tall, named, none=0.5, full=1.0)
        largest = max((v for _, values in table for v in values if not math.isnan(v)), default=0)
        return cls(left, wide, tall, named, none=0.0, full=max(0.25, math.ceil(largest * 4) / 4))

    def depth(self, value: float) -> float:
        """How deep a cell's colour is, light enough for text at its deepest."""
        share = (value - self.none) / (self.full - self.none)
        return 0.04 + 0.46 * min(1.0, max(0.0, share))

    @property
    def top(self) -> float:
        """Where the rows begin, below the names of the columns."""
        return 30.0 if self.wide >= _UPRIGHT else 130.0

    def centre(self, column: int) -> float:
        return self.left + self.wide * (column + 0.5)


def concepts(section: Section, order: Sequence[Standing], name: str) -> Picture:
    """A row a concept, a column a method; the deeper the colour, the higher the value."""
    table = per_concept(section, order)
    texts, what = section.concepts, headline_of(section)
    grid = _Grid.of(section, table)

    def build(figure: Figure) -> None:
        across, down = grid.wide * len(order), grid.tall * len(table)
        axes = panel(figure, left=grid.left, top=grid.top, width=across, height=down)
        axes.set(xlim=(0, len(order)), ylim=(len(table), 0))
        axes.set_axis_off()
        for row, (_, values) in enumerate(table):
            _cells(axes, grid, row, values)
        for column, one in enumerate(order):
            _head(figure, grid, column, name_of(one))
        for row, (concept, values) in enumerate(table if grid.named else []):
            _words(figure, grid, row, f"{concept}  {texts[concept]}", values)

    caption = (
        f"{what[0].upper()}{what[1:]} of each concept; concepts with the largest mean first. "
        f"Colour from {grid.none:g} (none) to {grid.full:g} (full)."
    )
    if not grid.named:
        caption += f" {len(table):,} concepts, a line each."
    svg = draw(
        build,
        name=name,
        title=f"{section.family}: {what} of each concept by each method",
        description=f"{counted(len(table), 'concept')} in rows, "
        f"{counted(len(order), 'method')} in columns.",
        width=WIDTH,
        height=grid.top + grid.tall * len(table) + 8,
    )
    header = (*WHO, "concept_id", "concept", what)
    return Picture(name, "Concepts", caption, svg, header, _rows(table, order, texts))


def _head(figure: Figure, grid: _Grid, column: int, name: str) -> None:
    at = grid.centre(column)
    if grid.wide >= _UPRIGHT:
        how: dict[str, Any] = {"align": "center", "size": SMALL, "weight": "bold"}
        write_name(figure, name, width=grid.wide - 8, left=at, top=14, **how)
        return
    label, top = fitted(name, grid.top - 12, SMALL), grid.top - 6
    how = {"size": SMALL, "weight": "bold", "rotation": 90, "va": "bottom"}
    write(figure, label, left=at, top=top, align="center", **how)


def _cells(axes: Axes, grid: _Grid, row: int, values: Sequence[float]) -> None:
    from matplotlib.patches import Rectangle

    gap = 1.0 if grid.named else 0.0
    across, down = gap / grid.wide, gap / grid.tall
    for column, value in enumerate(values):
        if not math.isnan(value):
            box = Rectangle((column + across, row + down), 1 - 2 * across, 1 - 2 * down)
            box.set(facecolor=BASE, alpha=grid.depth(value), linewidth=0)
            axes.add_patch(box)


def _words(figure: Figure, grid: _Grid, row: int, label: str, values: Sequence[float]) -> None:
    middle = grid.top + grid.tall * (row + 0.5)
    write(figure, fitted(label, grid.left - 16, SMALL), left=0, top=middle, size=SMALL)
    if grid.wide < 36:
        return
    for column, value in enumerate(values):
        shown = "–" if math.isnan(value) else f"{value:.2f}"
        write(figure, shown, left=grid.centre(column), top=middle, align="center", size=SMALL)


def _rows(
    table: Sequence[tuple[int, Sequence[float]]],
    order: Sequence[Standing],
    texts: Mapping[int, str],
) -> list[list[Cell]]:
    return [
        [*who(one), concept, texts[concept], number(values[column])]
        for concept, values in table
        for column, one in enumerate(order)
    ]
