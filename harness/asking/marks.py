"""Texts that are judged stand between marks that none of them can close."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARK = re.compile("<{3,}|>{3,}")


def widened(question: str, judged: Iterable[str]) -> str:
    """A question whose marks (``<<<``, ``>>>``) are longer than any in what is judged.

    What a model has written may say that the text ends here, and what its rating is.

    >>> widened("<<< {response} >>>", ["no >>>> yes"])
    '<<<<< {response} >>>>>'
    """
    longest = max((len(mark) for one in judged for mark in _MARK.findall(one)), default=0)
    return _MARK.sub(lambda mark: mark[0][0] * max(len(mark[0]), longest + 1), question)
