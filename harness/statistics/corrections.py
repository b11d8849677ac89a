"""Several tests at once: Holm's correction (1979, *Scandinavian Journal of Statistics* 6, 65).

The i-th smallest of m p-values times m − i + 1, none smaller than the one before. Of all m claims
that are then made at 5 %, the chance that any is wrong is 5 % at most, however they hang together.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979); None stays None and does not count.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[place] = highest
    return corrected
