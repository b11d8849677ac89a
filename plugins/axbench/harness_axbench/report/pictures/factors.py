"""Factor curves: a row of panels a method, a column a kind of score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.reports.figures import (
    ACCENT,
    BASE,
    SMALL,
    SOFT,
    draw,
    nice_ticks,
    panel,
    write,
)
from harness.reports.files import Cell
from harness.reports.names import write_name
from harness_axbench.metrics import factors_in
from harness_axbench.metrics.steering import is_judged
from harness_axbench.report.curves import OVERALL, Estimate, Standing, factor_curves, kinds_of
from harness_axbench.report.pictures.parts import WHO, WIDTH, Picture, name_of, number, who
from harness_axbench.report.reading import Section, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _TOP, _SIDE, _TALL, _GAP, _BETWEEN = 190.0, 28.0, 208.0, 96.0, 30.0, 24.0
_DECADES = 40
"""Factors this many times apart are drawn on a logarithmic axis."""
_LOG_TICKS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)

Curves = Mapping[str, Sequence[Estimate]]


def factors(section: Section, order: Sequence[Standing], name: str) -> Picture:
    """A row of panels a method: each kind of score against the factor."""
    kinds = kinds_of(section)
    curved = [one for one in order if factors_in(one.series.items)]
    found = [(one, factor_curves(one.series.items, list(kinds))) for one in curved]
    flats = {id(one): _unsteered(one, order) for one in curved}
    everywhere = [at for one in curved for at in factors_in(one.series.items)]

    def build(figure: Figure) -> None:
        for column, title in enumerate(kinds.values()):
            write(figure, title, left=_LEFT + column * (_SIDE + _GAP), top=10, color=SOFT)
        for place, (one, curves) in enumerate(found):
            top = _TOP + place * (_TALL + _BETWEEN)
            write_name(figure, name_of(one), width=_LEFT - 40, left=0, top=top + 7, weight="bold")
            overall = f"{one.headline.value:.3f}"
            write(figure, overall, left=0, top=top + 25, color=SOFT, size=SMALL)
            flat = flats[id(one)]
            for column, (kind, title) in enumerate(kinds.items()):
                left = _LEFT + column * (_SIDE + _GAP)
                axes = panel(figure, left=left, top=top, width=_SIDE, height=_TALL)
                if flat is not None:
                    _level(axes, flat, kind, title)
                _curve(axes, factors_in(one.series.items), curves[kind], kind)
                _shared(axes, everywhere)
                _outer(axes, first=column == 0, last=place == len(found) - 1)

    caption = (
        "Means over concepts of all instructions at a factor; bands are 95 % bootstrap intervals "
        "over concepts. Scores run from 0 to 2. Under a method's name: its overall score, each "
        "concept at the factor chosen for it."
    )
    if not all(is_judged(item) for one in curved for item in one.series.items):
        caption += " Where not all was judged: of the instructions that were judged at each factor."
    if any(flats.values()):
        caption += " Dotted: the same model on the same task, unsteered."
    svg = draw(
        build,
        name=name,
        title=f"{section.family}: scores against the factor, for each method",
        description=f"{len(found)} rows, one a method; columns: {', '.join(kinds.values())}.",
        width=WIDTH,
        height=_TOP + len(found) * (_TALL + _BETWEEN) + 22,
    )
    header = (*WHO, "score", "factor", "mean", "ci95_low", "ci95_high")
    return Picture(name, "Factors", caption, svg, header, _rows(found, kinds))


def _unsteered(one: Standing, order: Sequence[Standing]) -> Standing | None:
    """The same model on the same task without a method, where there is such a run in full."""
    own = one.series
    for other in order:
        found = other.series
        plain = not found.steered and not found.limited and not factors_in(found.items)
        if plain and found.task == own.task and short(found.run.model) == short(own.run.model):
            return other
    return None


def _curve(axes: Axes, at: Sequence[float], estimates: Sequence[Estimate], kind: str) -> None:
    colour = ACCENT if kind == OVERALL else BASE
    low, high = ([getattr(e, end) for e in estimates] for end in ("low", "high"))
    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    means = [e.value for e in estimates]
    axes.plot(at, means, color=colour, marker="o", markersize=2.5, clip_on=False)


def _level(axes: Axes, flat: Standing, kind: str, title: str) -> None:
    """The score of a run without factors, as a line across."""
    value = flat.headline.value if kind == OVERALL else flat.parts[title]
    if not math.isnan(value):
        dots = (0, (1, 2.5))
        axes.axhline(value, color=SOFT, linewidth=1.25, linestyle=dots, clip_on=False)


def _shared(axes: Axes, everywhere: Sequence[float]) -> None:
    """The same axes for all panels, logarithmic where the factors differ by orders."""
    low, high = min(everywhere), max(everywhere)
    axes.set(ylim=(0, 2), yticks=[0, 1, 2])
    if low > 0 and high > _DECADES * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        ticks = [tick for tick in _LOG_TICKS if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        return
    ends = (min(0.0, low * 1.04), max(0.0, high * 1.04))
    ticks = [float(tick) for tick in nice_ticks(*ends) if ends[0] <= tick <= ends[1]]
    axes.set_xlim(*ends)
    axes.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])


def _outer(axes: Axes, *, first: bool, last: bool) -> None:
    axes.tick_params(labelleft=first, labelbottom=last)
    if last:
        axes.set_xlabel("factor (× max_act)")


def _rows(found: Sequence[tuple[Standing, Curves]], kinds: Mapping[str, str]) -> list[list[Cell]]:
    return [
        [*who(one), kinds[kind], at, number(e.value), number(e.low), number(e.high)]
        for one, curves in found
        for kind, estimates in curves.items()
        for at, e in zip(factors_in(one.series.items), estimates, strict=True)
    ]
