"""The report's pictures: unsafe rates by level of a factor, a dot and its interval for each run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.reports.figures import HAIR, INK, SERIES, SMALL, SOFT, draw, fitted, panel, write
from harness_astral.report.reading import Run
from harness_astral.report.tables import Rate, cells, spaced, tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _WIDTH, _RIGHT, _TOP, _BOTTOM = 208.0, 312.0, 22.0, 30.0, 44.0
_LINE, _GAP, _LETTERS = 13.0, 17.0, 31
MOST = len(SERIES)
"""Runs that can be told apart by colour."""


def by_level(runs: Sequence[Run], factor: str, levels: Sequence[str]) -> str:
    """Unsafe rates (of the decided probes) for each level of a factor.

    Args:
        runs: The runs, a colour each; the first ``MOST`` are drawn.
        factor: The factor.
        levels: Its levels, from top to bottom.
    """
    drawn = list(runs)[:MOST]
    rates = [{key[0]: c.tally.of_decided for key, c in cells(r.probes, (factor,)).items()}
             for r in drawn]  # fmt: skip
    step = _LINE * len(drawn) + _GAP
    height = step * len(levels)

    def build(figure: Figure) -> None:
        axes = panel(figure, left=_LEFT, top=_TOP, width=_WIDTH, height=height)
        axes.set(xlim=(0, 1), ylim=(height, 0), xlabel="unsafe, of decided")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for share in (0, 0.25, 0.5, 0.75, 1):
            axes.axvline(share, color=HAIR, linewidth=0.75, zorder=0)
        for number, level in enumerate(levels):
            middle = number * step + step / 2
            _name(figure, level, _TOP + middle)
            for place, found in enumerate(rates):
                offset = (place - (len(drawn) - 1) / 2) * _LINE
                _mark(axes, found.get(level), middle + offset, SERIES[place])
        _whole(axes, drawn)
        _legend(figure, drawn)

    return draw(
        build,
        name=f"by-{factor}",
        title=f"Unsafe rate by {factor}",
        description=_described(drawn, rates, levels),
        width=_LEFT + _WIDTH + _RIGHT,
        height=_TOP + height + _BOTTOM,
    )


def _name(figure: Figure, level: str, middle: float) -> None:
    """A level's name in a line or two."""
    lines = textwrap.wrap(spaced(level), _LETTERS, max_lines=2, placeholder=" …") or [""]
    for number, line in enumerate(lines):
        top = middle + (number - (len(lines) - 1) / 2) * _LINE
        write(figure, line, left=_LEFT - 16, top=top, align="right", color=INK, size=SMALL)


def _mark(axes: Axes, rate: Rate | None, place: float, colour: str) -> None:
    if rate is None or not rate.n:
        return
    axes.plot(rate.interval, [place, place], color=colour, linewidth=5, alpha=0.28)
    axes.plot([rate.value], [place], color=colour, marker="o", markersize=5.5, clip_on=False)


def _whole(axes: Axes, runs: Sequence[Run]) -> None:
    """A dotted line at each run's rate over all probes."""
    for place, run in enumerate(runs):
        rate = tally(run.probes).of_decided
        if rate.n:
            axes.axvline(rate.value, color=SERIES[place], linewidth=1, linestyle=(0, (2, 3)))


def _legend(figure: Figure, runs: Sequence[Run]) -> None:
    left = _LEFT
    for place, run in enumerate(runs if len(runs) > 1 else ()):
        name = fitted(run.label, _WIDTH / len(runs))
        write(figure, "●", left=left, top=12, color=SERIES[place])
        write(figure, name, left=left + 14, top=12, color=SOFT)
        left += 34 + 6.4 * len(name)


def _described(
    runs: Sequence[Run], rates: Sequence[Mapping[str, Rate]], levels: Sequence[str]
) -> str:
    told = []
    for run, found in zip(runs, rates, strict=True):
        own = [f"{spaced(k)} {found[k].count} of {found[k].n}" for k in levels if k in found]
        told.append(f"{run.label}: {', '.join(own)}")
    return "Unsafe answers of the decided ones. " + "; ".join(told)
