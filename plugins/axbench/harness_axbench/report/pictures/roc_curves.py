"""ROC curves: a panel a method, concepts thin, their mean thick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.reports.figures import ACCENT, BASE, SOFT, draw, fitted, panel, write
from harness.reports.files import Cell
from harness.statistics import Floats
from harness_axbench.report.curves import GRID, Roc, Standing, roc
from harness_axbench.report.pictures.parts import WHO, WIDTH, Picture, name_of, number, who

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 60
"""The most concepts whose curves are drawn one by one."""

_LEFT, _TOP, _SIDE, _GAP, _COLUMNS = 44.0, 28.0, 190.0, 28.0, 5


def roc_curves(order: Sequence[Standing], name: str) -> Picture:
    """A panel a method: each concept's curve thin, their mean thick."""
    found = [(one, roc(one.series.items)) for one in order]
    drawn = [(one, curves) for one, curves in found if curves is not None]

    def build(figure: Figure) -> None:
        for place, (one, curves) in enumerate(drawn):
            row, column = divmod(place, _COLUMNS)
            left, top = _LEFT + column * (_SIDE + _GAP), _TOP + row * (_SIDE + _TOP + 16)
            axes = panel(figure, left=left, top=top, width=_SIDE, height=_SIDE)
            _panel(axes, curves)
            _outer(axes, first=column == 0, last=place + _COLUMNS >= len(drawn))
            write(figure, fitted(name_of(one), _SIDE - 44), left=left, top=top - 14, weight="bold")
            area, end = f"{one.headline.value:.3f}", left + _SIDE
            write(figure, area, left=end, top=top - 14, align="right", color=SOFT)

    most = max(len(curves.concepts) for _, curves in drawn)
    which = f"{LINES} concepts, evenly spread by area" if most > LINES else "each concept"
    caption = (
        f"Thin: {which}. Thick: the mean of all concepts' curves. Diagonal: chance. Beside the "
        "name: mean area. Hard negatives are left out."
    )
    lines = -(-len(drawn) // _COLUMNS)
    svg = draw(
        build,
        name=name,
        title="ROC curves of each method",
        description=f"{len(drawn)} panels, one a method: true against false positive rate.",
        width=WIDTH,
        height=lines * (_SIDE + _TOP + 16) + 24,
    )
    return Picture(
        name, "ROC curves", caption, svg, (*WHO, "concept_id", "fpr", "tpr"), _rows(drawn)
    )


def _panel(axes: Axes, curves: Roc) -> None:
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.75, linestyle=(0, (2, 3)))
    ranked = sorted(curves.concepts, key=lambda concept: curves.areas[concept])
    for place in evenly(len(ranked), LINES):
        fpr, tpr = curves.concepts[ranked[place]]
        axes.plot(fpr, tpr, color=BASE, linewidth=0.75, alpha=0.3)
    axes.plot([0, *GRID], [0, *curves.mean], color=ACCENT, linewidth=2.25, clip_on=False)


def evenly(n: int, most: int) -> list[int]:
    """At most ``most`` of the places 0 … n − 1, first and last among them.

    Example:
        >>> evenly(5, 3), evenly(2, 3)
        ([0, 2, 4], [0, 1])
    """
    if n <= most:
        return list(range(n))
    return [round(k * (n - 1) / (most - 1)) for k in range(most)]


def _outer(axes: Axes, *, first: bool, last: bool) -> None:
    """Ticks and labels; only the outer panels have words."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelleft=first, labelbottom=last)
    if first:
        axes.set_ylabel("true positive rate")
    if last:
        axes.set_xlabel("false positive rate")


def _rows(drawn: Sequence[tuple[Standing, Roc]]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for one, curves in drawn:
        rows += _points(one, "mean", GRID, curves.mean)
        for concept, (fpr, tpr) in curves.concepts.items():
            rows += _points(one, concept, fpr, tpr)
    return rows


def _points(one: Standing, concept: Cell, fpr: Floats, tpr: Floats) -> list[list[Cell]]:
    points = zip(fpr, tpr, strict=True)
    return [[*who(one), concept, number(x), number(y)] for x, y in points]
