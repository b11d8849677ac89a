"""Numbers as the page writes them: three significant digits or more, aligned within a column."""

from __future__ import annotations

import math
from collections.abc import Iterable

NONE = "—"
MINUS = "−"
_LARGE = 10_000_000


def places(values: Iterable[float | None]) -> int:
    """Decimal places at which the largest of some values has three significant digits.

    A value below 10 gets three places, as scores are shares more often than not.

    >>> places([0.5, 1.0]), places([31.2]), places([812.0, 3.5]), places([0.0123])
    (3, 2, 1, 4)
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest == 0 or not math.isfinite(largest):
        return 3
    order = math.floor(math.log10(largest))
    return 3 if order in (-1, 0) else max(0, min(8, 2 - order + (order > 0)))


def fixed(value: float | None, digits: int) -> str:
    """A value with so many places; a dash for none.

    >>> fixed(0.5, 3), fixed(-1234.5, 1), fixed(None, 3), fixed(3e9, 0)
    ('0.500', '−1,234.5', '—', '3.00e+09')
    """
    if value is None:
        return NONE
    text = f"{value:.2e}" if abs(value) >= _LARGE else f"{value:z,.{digits}f}"
    return text.replace("-", MINUS) if value < 0 else text


def signed(value: float | None, digits: int) -> str:
    """A difference with its sign.

    >>> signed(0.25, 3), signed(-0.25, 3), signed(-0.0004, 3), signed(0.0004, 3)
    ('+0.250', '−0.250', '0.000', '0.000')
    """
    text = fixed(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.") else text


def span(low: float | None, high: float | None, digits: int, *, sign: bool = False) -> str:
    """An interval; empty where there is none.

    >>> span(0.1, 0.25, 3), span(-0.1, 0.2, 2, sign=True)
    ('0.100 to 0.250', '−0.10 to +0.20')
    """
    if low is None or high is None:
        return ""
    write = signed if sign else fixed
    return f"{write(low, digits)} to {write(high, digits)}"


def probability(p: float | None) -> str:
    """A p-value.

    >>> probability(0.0312), probability(0.00002), probability(None)
    ('0.031', '< 0.001', '—')
    """
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def amount(value: float | None) -> str:
    """A cost with three significant digits at least.

    >>> amount(0.1234), amount(12.34), amount(1234.5), amount(0), amount(None)
    ('0.123', '12.3', '1,234', '0', '—')
    """
    if value is None:
        return NONE
    if value == 0:
        return "0"
    order = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, min(8, 2 - order))}f}"
