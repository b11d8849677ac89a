"""The report's pictures: how the scores are spread, and how far they can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness import wilson
from harness.reports.figures import ACCENT, BASE, HAIR, SOFT, draw, panel
from harness_factcg import metrics
from harness_factcg.assessing.assessment import Assessment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _SIDE, _TOP, _LEFT = 500.0, 316.0, 236.0, 28.0, 52.0
_BINS = 20


def spread(found: Sequence[Assessment], threshold: float) -> str:
    """A histogram of the scores, one colour a label where labels are known."""
    scores = np.array([one.verdict.score for one in found])
    labels = [one.claim.label for one in found]
    groups = [
        (name, colour, scores[[label == wanted for label in labels]])
        for name, colour, wanted in (
            ("labelled not supported", ACCENT, 0),
            ("labelled supported", BASE, 1),
            ("without a label", SOFT, None),
        )
        if wanted in labels
    ]

    def build(figure: Figure) -> None:
        axes = panel(figure, left=_LEFT, top=_TOP, width=_WIDTH - _LEFT - 10, height=_SIDE)
        axes.hist(
            [values for _, _, values in groups],
            bins=list(np.linspace(0, 1, _BINS + 1)),
            stacked=True,
            color=[colour for _, colour, _ in groups],
            label=[name for name, _, _ in groups],
            rwidth=0.86,
        )
        axes.axvline(threshold, color=SOFT, linewidth=1, linestyle=(0, (2, 3)))
        axes.set(xlim=(0, 1), xlabel="score", ylabel="claims")
        axes.locator_params(axis="y", integer=True)
        if len(groups) > 1:
            axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

    counts = "; ".join(f"{len(values)} {name}" for name, _, values in groups)
    return draw(
        build,
        name="spread",
        title="Scores",
        description=f"Histogram of {len(found)} scores from 0 to 1: {counts}.",
        width=_WIDTH,
        height=_HEIGHT,
    )


def reliability(items: Sequence[metrics.Item]) -> str:
    """The reliability diagram: share of supported claims against mean score, a point a bin."""
    bins = metrics.reliability(items)

    def build(figure: Figure) -> None:
        axes = panel(figure, left=_LEFT, top=_TOP, width=_SIDE, height=_SIDE)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.75, linestyle=(0, (2, 3)))
        for line in bins:
            _interval(axes, line)
        axes.plot(
            [line["score"] for line in bins],
            [line["supported"] for line in bins],
            color=BASE,
            marker="o",
            markersize=5,
            linestyle="none",
            clip_on=False,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean score", ylabel="share labelled supported")

    return draw(
        build,
        name="reliability",
        title="Reliability",
        description="Share of claims labelled supported against their mean score: "
        + "; ".join(f"{b['supported']:.2f} of {b['n']} at {b['score']:.2f}" for b in bins),
        width=_LEFT + _SIDE + 14,
        height=_HEIGHT,
    )


def _interval(axes: Axes, line: dict[str, float]) -> None:
    n = int(line["n"])
    low, high = wilson(round(line["supported"] * n), n)
    axes.plot([line["score"]] * 2, [low, high], color=HAIR, linewidth=5)
