"""The report's pictures of training: t, losses with their parts, validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.reports.figures import (
    ACCENT,
    BASE,
    INK,
    SERIES,
    SMALL,
    SOFT,
    draw,
    fitted,
    panel,
    write,
)
from harness.reports.values import counted
from harness_taid.report.reading import Student

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 1120.0
_POINTS = 240
_TALL, _LEFT, _LEGEND = 250.0, 52.0, 300.0
_COLUMNS, _PANEL, _GAP = 3, 130.0, 46.0
_DOTS = (0, (1, 2.5))

Line = Mapping[str, float]
Colours = Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """A picture with its heading and a sentence or two."""

    name: str
    title: str
    caption: str
    svg: str


def pictures(students: Sequence[Student]) -> list[Picture]:
    """All that can be drawn of some students."""
    colours = dict(zip(by_label(students), list(SERIES) * len(students), strict=False))
    found = [losses(students)] if any(one.steps for one in students) else []
    timed = [one for one in students if one.has_t]
    if timed:
        found.insert(0, schedule(timed, colours))
    for name, what in (("dev_kl", "KL(teacher ‖ student)"), ("dev_loss", "cross-entropy")):
        known = [one for one in students if any(name in line for line in one.validations)]
        if known:
            found.append(validation(known, name, what, colours))
    return found


def by_label(students: Sequence[Student]) -> dict[str, list[Student]]:
    """Students of each method."""
    found: dict[str, list[Student]] = {}
    for one in students:
        found.setdefault(one.label, []).append(one)
    return found


def schedule(students: Sequence[Student], colours: Colours) -> Picture:
    """TAID's t over steps, and the straight line below which it never falls."""

    def lines(axes: Axes) -> None:
        for one in students:
            colour = colours[one.label]
            axes.plot(*thinned(one.steps, "t", last=True), color=colour)
            x, floor = thinned(one.steps, "t_floor", last=True)
            axes.plot(x, floor, color=colour, linewidth=1.25, linestyle=_DOTS)
        axes.set(ylim=(0, 1.02), xlabel="step", ylabel="t")

    words = [f"{one.label}: {100 * (one.share_won or 0):.0f} %" for one in students]
    return Picture(
        "schedule",
        "How far the teacher is reached",
        "Solid: t, the weight of the teacher's logits in the target. Dotted: the straight line "
        "that is t's floor. Where they part, the adaptive term sets t. "
        f"Share of steps set by the adaptive term: {'; '.join(dict.fromkeys(words))}.",
        _framed(
            "schedule",
            "t over steps, and its floor",
            f"{counted(len(students), 'student')}; t ends at "
            + ", ".join(f"{one.steps[-1]['t']:.3f}" for one in students)
            + ".",
            {one.label: colours[one.label] for one in students},
            lines,
        ),
    )


def validation(students: Sequence[Student], name: str, what: str, colours: Colours) -> Picture:
    """A figure of the held-out exchanges over steps."""

    def lines(axes: Axes) -> None:
        for one in students:
            known = [line for line in one.validations if name in line]
            x, y = ([line[key] for line in known] for key in ("step", name))
            axes.plot(x, y, color=colours[one.label], marker="o", markersize=3.5, clip_on=False)
        axes.set(xlabel="step", ylabel=f"{what}, nats a token")
        axes.margins(y=0.08)

    return Picture(
        name.replace("_", "-"),
        f"On held-out exchanges: {what}",
        "A line a student, measured alike for all objectives. Where the data have no held-out part "
        "of their own, the seed chooses it: then compare students of one seed.",
        _framed(
            name.replace("_", "-"),
            f"{what} on held-out exchanges over steps",
            f"{counted(len(students), 'student')}.",
            {one.label: colours[one.label] for one in students},
            lines,
        ),
    )


def losses(students: Sequence[Student]) -> Picture:
    """A panel a method: the loss, and what was logged beside it."""
    groups = by_label([one for one in students if one.steps])
    parts = list(dict.fromkeys(name for one in students for name in one.parts))
    colours = dict(zip(parts, (BASE, *SERIES[2:]), strict=False))
    rows = -(-len(groups) // _COLUMNS)
    wide = (WIDTH - _COLUMNS * _GAP) / _COLUMNS

    def build(figure: Figure) -> None:
        write(figure, "loss", left=_GAP, top=8, color=ACCENT)
        left = _GAP + 50.0
        for name, colour in colours.items():
            write(figure, name.replace("_", " "), left=left, top=8, color=colour)
            left += 8.0 * len(name) + 16
        for place, (label, group) in enumerate(groups.items()):
            row, column = divmod(place, _COLUMNS)
            left, top = _GAP + column * (wide + _GAP), 44 + row * (_PANEL + 60)
            axes = panel(figure, left=left, top=top, width=wide, height=_PANEL)
            write(figure, fitted(label, wide), left=left, top=top - 12, weight="bold", color=INK)
            for one in group:
                for name in one.parts:
                    axes.plot(*thinned(one.steps, name), color=colours.get(name, SOFT))
                axes.plot(*thinned(one.steps, "loss"), color=ACCENT)
            if row == rows - 1:
                axes.set_xlabel("step")

    return Picture(
        "losses",
        "Losses and their parts",
        "Means a token of the global batch; lines of long trainings are means of neighbouring "
        "steps. A method's panel has a line a seed. Losses of different objectives are different "
        "quantities: compare students by the held-out figures below.",
        draw(
            build,
            name="losses",
            title="Loss and parts over steps, for each method",
            description=f"{counted(len(groups), 'panel')}: {', '.join(groups)}.",
            width=WIDTH,
            height=44 + rows * (_PANEL + 60),
        ),
    )


def _framed(
    name: str,
    title: str,
    description: str,
    colours: Colours,
    lines: Callable[[Axes], None],
) -> str:
    """One wide panel with the methods' names beside it."""

    def build(figure: Figure) -> None:
        across = WIDTH - _LEFT - _LEGEND
        axes = panel(figure, left=_LEFT, top=10, width=across, height=_TALL)
        lines(axes)
        for place, (label, colour) in enumerate(colours.items()):
            top = 20 + 20.0 * place
            left = _LEFT + across + 24
            write(figure, fitted(label, _LEGEND - 30), left=left, top=top, color=colour, size=SMALL)

    height = max(_TALL + 60, 40 + 20.0 * len(colours))
    return draw(build, name=name, title=title, description=description, width=WIDTH, height=height)


def thinned(
    lines: Sequence[Line], name: str, *, last: bool = False
) -> tuple[list[float], list[float]]:
    """Steps and values of a figure, at most 240 of each: means of neighbours, or their last.

    Args:
        lines: A line a step.
        name: The figure; lines without it are passed by.
        last: Whether the last value of neighbours is taken, not their mean.
    """
    known = [(line["step"], line[name]) for line in lines if name in line]
    parts = np.array_split(np.array(known, dtype=float), min(len(known), _POINTS) or 1)
    chosen = [part[-1] if last else part.mean(0) for part in parts if len(part)]
    return [float(x) for x, _ in chosen], [float(y) for _, y in chosen]
