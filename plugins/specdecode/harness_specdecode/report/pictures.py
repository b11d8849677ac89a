"""The report's pictures: agreement against distance, tokens a pass and speed-up against γ.

Points are measured, lines are theory. Drafters keep their colour on all pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.reports.figures import (
    BASE,
    HAIR,
    INK,
    PAPER,
    SERIES,
    SMALL,
    SOFT,
    draw,
    fitted,
    nice_ticks,
    panel,
    write,
)
from harness_specdecode.measuring.along import Position
from harness_specdecode.report.table import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 1120.0
MOST_POINTS = 800
"""Positions drawn of a drafter."""

_LEFT, _GAP, _LEGEND, _HEAD = 54.0, 40.0, 30.0, 30.0
_DASHED = (0, (4, 3))
_DOTTED = (0, (1, 2.2))


@dataclass(frozen=True)
class Picture:
    """A picture with its words.

    Attributes:
        name: Unique on the page.
        title: Its heading.
        caption: What is drawn.
        svg: The picture.
        data: The file with its numbers.
    """

    name: str
    title: str
    caption: str
    svg: str
    data: str


def colours(lines: Sequence[Line]) -> dict[str, str]:
    """A colour for each drafter, in order of appearance."""
    names = dict.fromkeys(line.drafter for line in lines if not line.plain)
    return {name: SERIES[k % len(SERIES)] for k, name in enumerate(names)}


# Agreement


def agreement(
    along: dict[str, list[list[Position]]], draws: int, colour: dict[str, str]
) -> Picture:
    """For each drafting model: Gumbel and MinHash against d between their bounds, and all d."""
    side, down, gap = 300.0, 250.0, 66.0
    drawn = {name: [p for answer in found for p in answer] for name, found in along.items()}

    def build(figure: Figure) -> None:
        _agreement_key(figure, draws)
        for row, (name, positions) in enumerate(drawn.items()):
            top = _LEGEND + _HEAD + row * (down + gap)
            how = {"weight": "bold", "color": colour.get(name, INK)}
            write(figure, fitted(name, side), left=_LEFT, top=top - 24, **how)
            for column, kind in enumerate(("gumbel", "minhash")):
                left = _LEFT + column * (side + _GAP + 14)
                axes = panel(figure, left=left, top=top, width=side, height=down)
                _agreeing(axes, positions, kind, colour.get(name, BASE))
                axes.set_xlabel("total variation distance d")
                title = {"gumbel": "Gumbel", "minhash": "MinHash"}[kind]
                mean = np.mean([p[f"agreement_{kind}"] for p in positions])
                axes.set_ylabel("agreement" if not column else "")
                words = f"{title}, mean {mean:.3f}"
                axes.text(0.98, 0.97, words, ha="right", va="top", transform=axes.transAxes)
            left = _LEFT + 2 * (side + _GAP + 14) + 14
            axes = panel(figure, left=left, top=top, width=WIDTH - left - 12, height=down)
            _distances(axes, positions, colour.get(name, BASE))

    means = "; ".join(
        f"{name}: d {np.mean([p['total_variation'] for p in own]):.3f}"
        for name, own in drawn.items()
    )
    caption = (
        "A point is a token of the target's answers, by the distance of the drafter's distribution "
        "from the target's there. Small points are exact agreement"
        + (f", circles shares of {draws} draws" if draws else "")
        + ". With both distributions in hand 1 − d is possible (the ratio test's acceptance); no "
        "protocol without communication beats (1 − d)/(1 + d) on every pair."
    )
    svg = draw(
        build,
        name="agreement",
        title="Agreement against total variation distance",
        description=f"Gumbel and MinHash between two curves; mean distance {means}.",
        width=WIDTH,
        height=_LEGEND + _HEAD + len(drawn) * (down + gap) - 14,
    )
    return Picture("agreement", "Agreement against distance", caption, svg, "agreement.csv")


def _agreement_key(figure: Figure, draws: int) -> None:
    axes, at = _strip(figure), 0.0
    for words, line in (("1 − d, optimal", "-"), ("(1 − d)/(1 + d), bound", _DASHED)):
        axes.plot([at, at + 28], [0.5, 0.5], color=INK, linewidth=1.25, linestyle=line)
        at = _entry(axes, at, words)
    axes.plot([at + 22], [0.5], marker="o", markersize=3, linestyle="none", color=SOFT)
    at = _entry(axes, at, "exact")
    if draws:
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": SOFT}
        axes.plot([at + 22], [0.5], marker="o", markersize=6, linestyle="none", **hollow)
        _entry(axes, at, f"share of {draws} draws")


def _agreeing(axes: Axes, positions: Sequence[Position], kind: str, colour: str) -> None:
    d = np.linspace(0, 1, 101)
    axes.plot(d, 1 - d, color=INK, linewidth=1.25)
    axes.plot(d, (1 - d) / (1 + d), color=INK, linewidth=1.25, linestyle=_DASHED)
    step = max(1, -(-len(positions) // MOST_POINTS))
    shown = positions[::step]
    axes.plot(
        [p["total_variation"] for p in shown], [p[f"agreement_{kind}"] for p in shown],
        linestyle="none", marker="o", markersize=2.6, color=colour, alpha=0.55,
        markeredgewidth=0, clip_on=False,
    )  # fmt: skip
    sampled = [p for p in positions if f"empirical_{kind}" in p]
    axes.plot(
        [p["total_variation"] for p in sampled], [p[f"empirical_{kind}"] for p in sampled],
        linestyle="none", marker="o", markersize=5.5, markerfacecolor="none",
        markeredgecolor=colour, markeredgewidth=0.9, alpha=0.8, clip_on=False,
    )  # fmt: skip
    _unit_axes(axes)


def _distances(axes: Axes, positions: Sequence[Position], colour: str) -> None:
    values = np.array([p["total_variation"] for p in positions])
    shares = np.full(len(values), 1 / len(values))
    axes.hist(values, bins=list(np.linspace(0, 1, 21)), weights=shares, color=colour, rwidth=0.86)
    axes.set(xlim=(0, 1), xlabel="total variation distance d", ylabel="share of tokens")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.text(
        0.98, 0.97, f"mean d {values.mean():.3f}", ha="right", va="top", transform=axes.transAxes
    )


def _unit_axes(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


# Against γ


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What is drawn against γ.

    Attributes:
        label: Of the upright axis.
        measured: A line's value, and the ends of its interval.
        expected: What theory expects.
        formula: What the simpler formula does.
        key: Names of these two.
    """

    label: str
    measured: Callable[[Line], tuple[float, float, float]]
    expected: Callable[[Line], float]
    formula: Callable[[Line], float]
    key: tuple[str, str]


_SPEED_UP = _Reading(
    label="speed-up",
    measured=lambda line: (line.speed_up, line.speed_up_low, line.speed_up_high),
    expected=lambda line: line.speed_up_expected,
    formula=lambda line: line.speed_up_theorem,
    key=("expected here", "theorem 3.8"),
)
_TOKENS = _Reading(
    label="tokens a pass",
    measured=lambda line: (line.tokens_per_pass,) * 3,
    expected=lambda line: line.tokens_expected,
    formula=lambda line: line.tokens_formula,
    key=("expected", "(1 − α^(γ+1))/(1 − α)"),
)


def speed_ups(lines: Sequence[Line], colour: dict[str, str]) -> Picture:
    """A row of panels a scheme, a column a batch size."""
    caption = (
        "Points: median of paired runs against plain decoding, bars its interval. Lines: what "
        "theory expects at this machine's prices. Dotted: theorem 3.8, which takes a pass to cost "
        "the same at any width and the rest to be free. Grey band: plain decoding against itself."
    )
    svg = _panels("speed-up", lines, colour, _SPEED_UP)
    return Picture("speed-up", "Speed-up against draft length", caption, svg, "table.csv")


def tokens(lines: Sequence[Line], colour: dict[str, str]) -> Picture:
    """A panel a scheme, at the first batch size: rows do not depend on one another."""
    size = lines[0].batch_size
    caption = (
        f"Batch {size}. Lines: expected along the target's answers, position by position. Dotted: "
        "(1 − α^(γ+1))/(1 − α) with the mean agreement α. This is what agreement alone decides; "
        "it is the same on every machine."
    )
    svg = _panels("tokens", [x for x in lines if x.batch_size == size], colour, _TOKENS)
    return Picture("tokens", "Tokens a pass of the target", caption, svg, "table.csv")


def _panels(name: str, lines: Sequence[Line], colour: dict[str, str], reading: _Reading) -> str:
    schemes = list(dict.fromkeys(line.scheme for line in lines))
    sizes = list(dict.fromkeys(line.batch_size for line in lines))
    cells = [(scheme, size) for scheme in schemes for size in sizes]
    across = len(sizes) if len(sizes) > 1 else min(3, len(schemes))
    side = min(480.0, (WIDTH - _LEFT - 12 - (across - 1) * _GAP) / across)
    down, between = 210.0, 60.0
    values = [
        value
        for x in lines
        for value in (*reading.measured(x), reading.expected(x), reading.formula(x))
    ]
    ticks = [float(tick) for tick in nice_ticks(0, max(values))]

    def build(figure: Figure) -> None:
        _key(figure, colour, reading.key)
        for place, (scheme, size) in enumerate(cells):
            row, column = divmod(place, across)
            left = _LEFT + column * (side + _GAP)
            top = _LEGEND + _HEAD + row * (down + between)
            words = f"{scheme}, batch {size}"
            write(figure, words, left=left, top=top - 13, weight="bold")
            axes = panel(figure, left=left, top=top, width=side, height=down)
            own = [x for x in lines if x.scheme == scheme and x.batch_size == size]
            _against_gamma(axes, own, colour, reading)
            axes.set(ylim=(0, ticks[-1]), yticks=ticks, xlabel="γ, tokens drafted a round")
            axes.set_ylabel(reading.label if not column else "")

    drafters = ", ".join(colour)
    return draw(
        build,
        name=name,
        title=f"{reading.label} against the length of drafts",
        description=f"{len(cells)} panels, a scheme and a batch size each; drafters: {drafters}.",
        width=WIDTH,
        height=_LEGEND + _HEAD + -(-len(cells) // across) * (down + between) - 10,
    )


def _key(figure: Figure, colour: dict[str, str], key: tuple[str, str]) -> None:
    axes, at = _strip(figure), 0.0
    axes.plot([at + 14], [0.5], marker="o", markersize=6.5, linestyle="none", color=SOFT)
    at = _entry(axes, at, "measured")
    axes.plot([at, at + 28], [0.5, 0.5], color=SOFT, linewidth=1.5)
    at = _entry(axes, at, key[0])
    axes.plot([at, at + 28], [0.5, 0.5], color=SOFT, linewidth=1.25, linestyle=_DOTTED)
    at = _entry(axes, at, key[1])
    for name, own in colour.items():
        words = fitted(name, 220, SMALL)
        axes.text(at, 0.5, words, va="center", color=own, size=SMALL, weight="bold")
        at += 26 + 6.6 * len(words)


def _strip(figure: Figure) -> Axes:
    """The top of a figure, in pixels from its left."""
    axes = panel(figure, left=_LEFT, top=0, width=WIDTH - _LEFT, height=_LEGEND - 8)
    axes.set(xlim=(0, WIDTH - _LEFT), ylim=(0, 1))
    axes.axis("off")
    return axes


def _entry(axes: Axes, at: float, words: str) -> float:
    """Words behind a sign of 28 pixels; returns where the next entry begins."""
    axes.text(at + 35, 0.5, words, va="center", color=SOFT, size=SMALL)
    return at + 60 + 6.2 * len(words)


def _against_gamma(
    axes: Axes, lines: Sequence[Line], colour: dict[str, str], reading: _Reading
) -> None:
    for plain in (line for line in lines if line.plain):
        _, low, high = reading.measured(plain)
        if high > low:
            axes.axhspan(low, high, color=HAIR, linewidth=0)
    axes.axhline(1, color=SOFT, linewidth=0.75)
    names = [name for name in colour if any(line.drafter == name for line in lines)]
    gammas = sorted({line.gamma for line in lines if not line.plain})
    for k, name in enumerate(names):
        own = sorted((x for x in lines if x.drafter == name), key=lambda x: x.gamma)
        at = [line.gamma for line in own]
        shift = 0.09 * (k - (len(names) - 1) / 2)
        style: dict[str, Any] = {"color": colour[name], "clip_on": False}
        axes.plot(at, [reading.expected(x) for x in own], linewidth=1.5, alpha=0.8, **style)
        axes.plot(at, [reading.formula(x) for x in own], linewidth=1.25, linestyle=_DOTTED, **style)
        for line in own:
            _point(axes, line.gamma + shift, reading.measured(line), style)
    axes.set_xlim(min(gammas) - 0.4, max(gammas) + 0.4)
    axes.set_xticks(gammas, [str(gamma) for gamma in gammas])


def _point(axes: Axes, at: float, value: tuple[float, float, float], style: dict[str, Any]) -> None:
    middle, low, high = value
    if high > low:
        axes.plot([at, at], [low, high], linewidth=4, alpha=0.3, **style)
    edge: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 1.0}
    axes.plot([at], [middle], marker="o", markersize=6.5, **edge, **style)
