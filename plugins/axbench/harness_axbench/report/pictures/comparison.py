"""Methods compared: a dot and an interval each, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.reports.figures import (
    ACCENT,
    BASE,
    HAIR,
    INK,
    PAPER,
    SMALL,
    SOFT,
    draw,
    nice_ticks,
    panel,
    write,
)
from harness.reports.files import Cell
from harness.reports.names import write_name
from harness.reports.values import counted
from harness_axbench.report.curves import Standing
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

_LEFT, _RIGHT, _TOP, _ROW = 250.0, 200.0, 4.0, 30.0


def comparison(section: Section, order: Sequence[Standing], name: str) -> Picture:
    """A dot and an interval for each method, best first."""
    what = headline_of(section)

    def build(figure: Figure) -> None:
        axes = _axes(figure, section, order)
        axes.set_xlabel(f"{what}, mean over concepts")
        for place, one in enumerate(order):
            _dot(axes, one, place)
            _words(figure, one, place)

    caption = (
        "Dots are means over concepts, lines their 95 % bootstrap intervals over concepts. "
        "Red: a method. Blue: the model alone, or a prompt."
    )
    if any(one.series.limited for one in order):
        caption += " Hollow and last: only a part of the data was evaluated."
    best = order[0]
    svg = draw(
        build,
        name=name,
        title=f"{section.family}: {what} of each method",
        description=f"{counted(len(order), 'method')}; the first is {best.series.label} with "
        f"{best.headline.value:.3f}.",
        width=WIDTH,
        height=_TOP + _ROW * len(order) + 44,
    )
    parts = tuple(best.parts)
    header = (*WHO, what, "ci95_low", "ci95_high", *parts, "n_concepts", "n_unscored", "limited")
    return Picture(name, "Methods", caption, svg, header, [_row(one) for one in order])


def _axes(figure: Figure, section: Section, order: Sequence[Standing]) -> Axes:
    low, high, ticks = _span(section)
    across, down = WIDTH - _LEFT - _RIGHT, _ROW * len(order)
    axes = panel(figure, left=_LEFT, top=_TOP, width=across, height=down)
    axes.set(xlim=(low, high), ylim=(len(order) - 0.5, -0.5), yticks=[], xticks=ticks)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", color=HAIR, linewidth=0.75)
    axes.set_axisbelow(True)
    return axes


def _span(section: Section) -> tuple[float, float, list[float]]:
    """Limits and ticks of the axis: the metric's range."""
    high = 1.0 if section.family == DETECTION else 2.0
    return -0.005 * high, 1.005 * high, [float(tick) for tick in nice_ticks(0.0, high)]


def _dot(axes: Axes, one: Standing, place: int) -> None:
    colour = ACCENT if one.series.steered else BASE
    head, hollow = one.headline, one.series.limited
    if not math.isnan(head.low):
        style: dict[str, Any] = {"linewidth": 7, "alpha": 0.25, "solid_capstyle": "round"}
        if hollow:
            style = {"linewidth": 1.25, "linestyle": (0, (3, 3))}
        axes.plot([head.low, head.high], [place, place], color=colour, clip_on=False, **style)
    axes.plot(
        [head.value],
        [place],
        marker="o",
        markersize=8,
        markerfacecolor=PAPER if hollow else colour,
        markeredgecolor=colour if hollow else PAPER,
        markeredgewidth=1.5,
        clip_on=False,
    )


def _words(figure: Figure, one: Standing, place: int) -> None:
    """Name, value and interval of a method, left and right of its line."""
    middle, right = _TOP + _ROW * (place + 0.5), WIDTH - _RIGHT
    first = place == 0 and not one.series.limited
    how: dict[str, Any] = {
        "color": SOFT if one.series.limited else INK,
        "weight": "bold" if first else "normal",
    }
    head = one.headline
    write_name(figure, name_of(one), width=_LEFT - 24, left=0, top=middle, **how)
    write(figure, f"{head.value:.3f}", left=right + 34, top=middle, **how)
    if not math.isnan(head.low):
        between = f"{head.low:.3f} to {head.high:.3f}"
        write(figure, between, left=right + 84, top=middle, color=SOFT, size=SMALL)


def _row(one: Standing) -> list[Cell]:
    head = one.headline
    numbers = [number(x) for x in (head.value, head.low, head.high, *one.parts.values())]
    return [*who(one), *numbers, one.n_concepts, one.n_unscored, one.series.limited]
