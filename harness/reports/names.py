"""A name beside a row of a picture: on two lines where it is too long for one."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from harness.reports.figures import NORMAL, fitted, plain, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE = 0.52
"""Width of a letter, in sizes of the text."""
_LINE = 1.15


def write_name(
    figure: Figure,
    text: str,
    *,
    width: float,
    left: float,
    top: float,
    size: float = NORMAL,
    **how: Any,
) -> None:
    """Write a name, its middle at ``top``; only what does not fit on two lines is cut.

    Args:
        figure: Where to.
        text: The name.
        width: What a line may take, pixels.
        left: Where it begins.
        top: Its middle.
        size: Of the text; a name of two lines is a little smaller.
        how: Further properties of the text.
    """
    lines = two_lines(text, width, size)
    small = size if len(lines) == 1 else size - 1
    for number, line in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * _LINE * small
        write(figure, line, left=left, top=top + shift, size=small, **how)


def two_lines(text: str, width: float, size: float = NORMAL) -> list[str]:
    """A name as one line or two, broken between words where that is possible.

    >>> two_lines("steered (diffmean) + speculative (ngram)", 140)
    ['steered (diffmean) +', 'speculative (ngram)']
    >>> two_lines("DiffMean", 140)
    ['DiffMean']
    """
    whole = plain(text)
    if fitted(whole, width, size) == whole:
        return [whole]
    letters = max(2, int(width / (_WIDE * (size - 1))))
    first, *rest = textwrap.wrap(whole, letters)
    return [first, fitted(" ".join(rest), width, size - 1)] if rest else [first]
