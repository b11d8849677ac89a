"""What the pictures share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.reports.files import Cell
from harness_axbench.report.curves import Standing
from harness_axbench.report.reading import DETECTION, Section

WIDTH = 1120.0
"""Width of every picture, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A picture with its words and its data.

    Attributes:
        name: Unique on the page, and the stem of the data's file.
        title: Its heading.
        caption: What is drawn, in a sentence or two.
        svg: The picture.
        header: Columns of its data.
        rows: Its data.
    """

    name: str
    title: str
    caption: str
    svg: str
    header: tuple[str, ...]
    rows: list[list[Cell]]


def headline_of(section: Section) -> str:
    """What a section's methods are compared by."""
    return "AUROC" if section.family == DETECTION else "overall score"


WHO = ("label", "method", "task", "model", "run_id")
"""The first columns of every picture's data."""


def who(one: Standing) -> list[Cell]:
    """The cells of these columns."""
    run = one.series.run
    return [one.series.label, run.method, one.series.task, run.model, run.run_id]


def name_of(one: Standing) -> str:
    """A method's name on a picture."""
    return one.series.label + (" (part)" if one.series.limited else "")


def number(value: float) -> float | None:
    """A number as a cell: six digits, nothing for NaN."""
    return None if math.isnan(value) else round(float(value), 6)
