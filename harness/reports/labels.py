"""Names beside points, without overlap where there is room.

Greedy: points in order, each name at the first place around its point that touches no other name
and no point, the nearest first, crossing as few of the lines to be avoided as possible. A name for
which there is no room is left out; the numbers beside the picture have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right, bottom; pixels."""

_RADIUS = 7.0
_DISTANCES = (11.0, 20.0, 32.0, 46.0)
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
"""Right, left, above, below, then between these."""
_WIDE = 0.56
"""Width of a letter, in sizes of the text: a little more than most."""


@dataclass(frozen=True)
class Label:
    """Where a name stands, and whether a line should lead from its point to it.

    Attributes:
        left: Where it begins.
        middle: The middle of its line.
        box: What it covers.
        led: Whether it is far from its point.
    """

    left: float
    middle: float
    box: Box
    led: bool


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge.

    >>> overlap((0, 0, 2, 2), (1, 1, 3, 3)), overlap((0, 0, 2, 2), (2, 0, 3, 2))
    (True, False)
    """
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def placed(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    within: Box,
    *,
    size: float,
    avoid: Sequence[Box] = (),
) -> list[Label | None]:
    """Places of names.

    Args:
        points: In pixels from the left and the top.
        names: One each.
        within: What names must not leave.
        size: Of the text, pixels.
        avoid: What they had better not cover.

    Returns:
        A place for each name, None where there is no room.
    """
    dots = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in points]
    taken: list[Box] = []
    found: list[Label | None] = []
    for (x, y), name in zip(points, names, strict=True):
        width, height = _WIDE * size * len(name), 1.25 * size
        free = [
            label
            for label in _around(x, y, width, height)
            if _inside(label.box, within) and not any(overlap(label.box, b) for b in dots + taken)
        ]
        best = min(free, key=lambda one: sum(overlap(one.box, b) for b in avoid), default=None)
        if best is not None:
            taken.append(best.box)
        found.append(best)
    return found


def _around(x: float, y: float, width: float, height: float) -> list[Label]:
    labels = []
    for distance in _DISTANCES:
        for across, down in _SIDES:
            reach = distance if not (across and down) else 0.75 * distance
            left = x + across * reach - (width if across < 0 else width / 2 if not across else 0)
            middle = y + down * (reach + (height / 2 - 3 if not across else 0))
            box = (left, middle - height / 2, left + width, middle + height / 2)
            labels.append(Label(left, middle, box, led=distance > _DISTANCES[1]))
    return labels


def _inside(box: Box, within: Box) -> bool:
    return (
        box[0] >= within[0] and box[1] >= within[1] and box[2] <= within[2] and box[3] <= within[3]
    )
