"""What a method gains against what it retains: a picture for wide pages, and one for phones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reports.figures import (
    BASE,
    HAIR,
    INK,
    PAPER,
    SMALL,
    SOFT,
    draw,
    fitted,
    nice_ticks,
    panel,
)
from harness.reports.labels import Box, placed
from harness.studies.report.tradeoff import Point, Tradeoff

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 25
"""Runs above which only those of the front and the baseline have names and strong intervals."""
_LONGEST = 190.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 12.0, 46.0, 58.0, 16.0


@dataclass(frozen=True)
class _Frame:
    """The picture's pixels, and the values at its edges."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def box(self) -> Box:
        """Of the axes."""
        return (_LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a value."""
        left, top, right, bottom = self.box
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)


def tradeoff_picture(
    found: Tradeoff, baseline: str | None, *, name: str, width: float, height: float
) -> str:
    """The picture: a cross of intervals a run, the Pareto front as steps.

    Args:
        found: What there is to draw.
        baseline: Its run, drawn as a diamond.
        name: Tells the figure from others of the page.
        width: In CSS pixels.
        height: Likewise.
    """
    kept = [end for p in found.points for end in (p.kept.value, p.kept.low, p.kept.high)]
    gains = [end for p in found.points for end in _ends(p)]
    frame = _Frame(width, height, _edges([*kept, 100.0]), _edges(gains))

    def crowded(point: Point) -> bool:
        return len(found.points) > _MANY and not point.front and point.run != baseline

    def build(figure: Figure) -> None:
        left, top, right, bottom = frame.box
        axes = panel(figure, left=left, top=top, width=right - left, height=bottom - top)
        _scales(axes, frame, found)
        _front(axes, found)
        for point in found.points:
            _cross(axes, point, _colour(point, baseline), point.run == baseline, crowded(point))
        others = [point for point in found.points if crowded(point)]
        named = [point for point in found.points if not crowded(point)]
        _names(figure, frame, named, baseline, others)

    first = ", ".join(point.run for point in found.points if point.front)
    return draw(
        build,
        name=name,
        title=f"{found.gain} against what is retained on general tasks",
        description=f"{len(found.points)} runs; on the Pareto front: {first}.",
        width=width,
        height=height,
    )


def _ends(point: Point) -> tuple[float | None, ...]:
    return point.gain.value, point.gain.ci95_low, point.gain.ci95_high


def _edges(values: Sequence[float | None]) -> tuple[float, float]:
    """The lowest and highest value, and some room."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _scales(axes: Axes, frame: _Frame, found: Tradeoff) -> None:
    across = 6 if frame.width > 500 else 4
    axes.set(xlim=frame.x, ylim=frame.y)
    for which, ends, most in (("x", frame.x, across), ("y", frame.y, 6)):
        ticks = [tick for tick in nice_ticks(*ends, most) if ends[0] <= tick <= ends[1]]
        getattr(axes, f"set_{which}ticks")(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g} %".replace("-", "−"))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(color=HAIR, linewidth=0.75)
    axes.set_axisbelow(True)
    axes.axvline(100, color=SOFT, linewidth=0.75, linestyle=(0, (2, 2)))
    axes.set_xlabel("retained on general tasks →")
    words = f"{found.gain} {found.metric}" if frame.width > 500 else found.metric
    axes.set_ylabel(
        fitted(words, frame.height - 120, SMALL) + (" →" if found.up else " (less is better)")
    )


def _front(axes: Axes, found: Tradeoff) -> None:
    first = sorted((p for p in found.points if p.front), key=lambda p: (p.kept.value, p.gain.value))
    ends: list[Any] = [p.gain.value for p in first]
    axes.plot([p.kept.value for p in first], ends, color=BASE, linewidth=1, drawstyle="steps-pre")


def _colour(point: Point, baseline: str | None) -> str:
    if point.run == baseline:
        return INK
    return BASE if point.front else SOFT


def _cross(axes: Axes, point: Point, colour: str, baseline: bool, faint: bool) -> None:
    x, y = point.kept.value, point.gain.value
    assert y is not None
    line: dict[str, Any] = {"color": colour, "linewidth": 4, "alpha": 0.07 if faint else 0.25}
    line["solid_capstyle"] = "round"
    if point.kept.low is not None and point.kept.high is not None:
        axes.plot([point.kept.low, point.kept.high], [y, y], **line)
    if point.gain.ci95_low is not None and point.gain.ci95_high is not None:
        axes.plot([x, x], [point.gain.ci95_low, point.gain.ci95_high], **line)
    sign: dict[str, Any] = {"marker": "D" if baseline else "o", "markersize": 7 if baseline else 8}
    edge: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 1}
    axes.plot([x], [y], color=colour, clip_on=False, **sign, **edge)


def _names(
    figure: Figure,
    frame: _Frame,
    points: Sequence[Point],
    baseline: str | None,
    others: Sequence[Point],
) -> None:
    """Names of points, clear of the others; the front's and the baseline's get the best places."""
    order = sorted(points, key=lambda p: (not p.front, p.run != baseline))
    names = [fitted(p.run, min(_LONGEST, frame.width / 2.4), SMALL) for p in order]
    spots = [frame.at(p.kept.value, p.gain.value or 0.0) for p in order]
    left, top, right, bottom = frame.box
    within = (left - 4, top - 10, right + _RIGHT, bottom - 2)
    labels = placed(
        spots, names, within, size=SMALL, avoid=[*_lines(frame, order), *_dots(frame, others)]
    )
    down, across = frame.height, frame.width
    for point, name, (x, y), label in zip(order, names, spots, labels, strict=True):
        if label is None:
            continue
        colour = _colour(point, baseline)
        if label.led:
            near = min(max(x, label.box[0]), label.box[2])
            below = label.box[3] if label.box[3] < y else label.box[1]
            axes = figure.axes[0]
            to_values = axes.transData.inverted().transform
            ends = [to_values((a, down - b)) for a, b in ((x, y), (near, below))]
            axes.plot(*zip(*ends, strict=True), color=SOFT, linewidth=0.5)
        figure.text(
            label.left / across, 1 - label.middle / down, name,
            va="center", ha="left", size=SMALL, color=colour,
            weight="bold" if point.front else "normal",
        )  # fmt: skip


def _dots(frame: _Frame, points: Sequence[Point]) -> list[Box]:
    spots = [frame.at(p.kept.value, p.gain.value or 0.0) for p in points]
    return [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]


def _lines(frame: _Frame, points: Sequence[Point]) -> list[Box]:
    """The intervals, as boxes."""
    boxes: list[Box] = []
    for p in points:
        x, y = frame.at(p.kept.value, p.gain.value or 0.0)
        if p.kept.low is not None and p.kept.high is not None:
            ends = [frame.at(end, 0.0)[0] for end in (p.kept.low, p.kept.high)]
            boxes.append((ends[0], y - 2, ends[1], y + 2))
        if p.gain.ci95_low is not None and p.gain.ci95_high is not None:
            ends = [frame.at(0.0, end)[1] for end in (p.gain.ci95_high, p.gain.ci95_low)]
            boxes.append((x - 2, ends[0], x + 2, ends[1]))
    return boxes
