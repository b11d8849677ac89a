"""The report's pictures of fidelity: a line a method, a dot and an interval a student."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.reports.figures import (
    ACCENT,
    BASE,
    HAIR,
    INK,
    PAPER,
    SMALL,
    SOFT,
    draw,
    panel,
    write,
)
from harness.reports.names import write_name
from harness.reports.values import counted
from harness_taid.report.pictures import WIDTH, Picture
from harness_taid.report.reading import SHOWN, Comparison, Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _RIGHT, _TOP, _ROW = 290.0, 200.0, 6.0, 34.0
_SPREAD = 0.56


def fidelity(comparison: Comparison, name: str) -> Picture:
    """One metric of all methods, best first."""
    groups = _ordered(comparison)
    what = SHOWN[comparison.metric]

    def build(figure: Figure) -> None:
        down = _ROW * len(groups)
        axes = panel(figure, left=_LEFT, top=_TOP, width=WIDTH - _LEFT - _RIGHT, height=down)
        axes.set(ylim=(len(groups) - 0.5, -0.5), yticks=[], xlabel=what)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", color=HAIR, linewidth=0.75)
        axes.set_axisbelow(True)
        for place, (label, runs) in enumerate(groups.items()):
            middle = _TOP + _ROW * (place + 0.5)
            for k, one in enumerate(runs):
                shift = 0.0 if len(runs) == 1 else _SPREAD * (k / (len(runs) - 1) - 0.5)
                _dot(axes, one, place + shift)
            write_name(figure, label, width=_LEFT - 30, left=0, top=middle, color=INK)
            write(figure, f"{_mean(runs):.3f}", left=WIDTH - _RIGHT + 34, top=middle, color=INK)
            between = _between(runs)
            write(figure, between, left=WIDTH - _RIGHT + 84, top=middle, color=SOFT, size=SMALL)
        # from end to end of the metric's range; to where the data go where it has no end
        rows = [one.row for one in comparison.runs]
        axes.set_xlim(
            left=next((row.lowest for row in rows if row.lowest is not None), None),
            right=next((row.highest for row in rows if row.highest is not None), None),
        )

    words = [
        "Dots are students, lines their 95 % intervals; right: the mean of a method, of its only "
        "student with the interval."
    ]
    better = _direction(comparison)
    words += [] if better is None else ["More is better." if better else "Less is better."]
    words += ["Only a part of the data was evaluated."] if comparison.limited else []
    if not all(one.row.run.method for one in comparison.runs):
        words.append("Blue: not distilled.")
    return Picture(
        name,
        what[0].upper() + what[1:],
        " ".join(words),
        draw(
            build,
            name=name,
            title=f"{what} of each method",
            description=f"{counted(len(groups), 'method')}; the first is {next(iter(groups))}.",
            width=WIDTH,
            height=_TOP + _ROW * len(groups) + 44,
        ),
    )


def _direction(comparison: Comparison) -> bool | None:
    """Whether more is better; None where it is not known."""
    found = {one.row.higher_is_better for one in comparison.runs} - {None}
    return found.pop() if len(found) == 1 else None


def _mean(runs: list[Scored]) -> float:
    values = [one.row.value for one in runs if one.row.value is not None]
    return sum(values) / len(values) if values else math.nan


def _between(runs: list[Scored]) -> str:
    """The interval of a method's only student."""
    row = runs[0].row
    if len(runs) > 1 or row.ci95_low is None or row.ci95_high is None:
        return ""
    return f"{row.ci95_low:.3f} to {row.ci95_high:.3f}"


def _ordered(comparison: Comparison) -> dict[str, list[Scored]]:
    groups: dict[str, list[Scored]] = {}
    for one in comparison.runs:
        if one.row.value is not None:
            groups.setdefault(one.label, []).append(one)
    sign = 1 if _direction(comparison) is False else -1
    return dict(sorted(groups.items(), key=lambda pair: sign * _mean(pair[1])))


def _dot(axes: Axes, one: Scored, at: float) -> None:
    row, colour = one.row, ACCENT if one.row.run.method else BASE
    if row.ci95_low is not None and row.ci95_high is not None:
        ends = [row.ci95_low, row.ci95_high]
        axes.plot(ends, [at, at], color=colour, linewidth=4, alpha=0.3, solid_capstyle="round")
    assert row.value is not None
    axes.plot(
        [row.value], [at], marker="o", markersize=6, markerfacecolor=colour, markeredgecolor=PAPER
    )
