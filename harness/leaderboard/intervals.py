"""95 % intervals of what results files hold: a value, and a standard error or an interval."""

from __future__ import annotations

import math

from harness.reports.values import number, real
from harness.statistics import FEWEST, wilson

Interval = tuple[float | None, float | None]

_Z95 = 1.96
_SHARES = frozenset(
    {
        *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"),
        *("prompt_level_strict_acc", "prompt_level_loose_acc"),
    }
)
"""lm-eval's shares of documents."""
_RANGES = {
    **dict.fromkeys((*_SHARES, "f1", "em", "brier_score"), (0.0, 1.0)),
    **dict.fromkeys(("accuracy", "precision", "recall", "pass@1", "pass_at_1"), (0.0, 1.0)),
    **dict.fromkeys(("inst_level_strict_acc", "inst_level_loose_acc"), (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
    "ter": (0.0, math.inf),
    **dict.fromkeys(("word_perplexity", "byte_perplexity", "perplexity"), (1.0, math.inf)),
    "bits_per_byte": (0.0, math.inf),
    "mcc": (-1.0, 1.0),
}


def range_of(metric: str, stated: object) -> tuple[float, float]:
    """The lowest and highest value of a metric, infinite where no end is known.

    Args:
        metric: Its name; of lm-eval's own the range is known.
        stated: What the task's metadata say: [lowest, highest], null for no end.
    """
    if not isinstance(stated, list) or len(stated) != 2:
        return _RANGES.get(metric, (-math.inf, math.inf))
    low, high = map(real, stated)
    return -math.inf if low is None else low, math.inf if high is None else high


def given(interval: object) -> Interval:
    """The interval that the task computed; none where it has none, or one without a width."""
    if not isinstance(interval, list) or len(interval) != 2:
        return None, None
    low, high = map(real, interval)
    return (low, high) if low is not None and high is not None and low < high else (None, None)


def without_spread(metric: str, value: float | None, n: int | None) -> Interval:
    """Where the standard error is 0: Wilson's interval of a share of n documents, else none.

    >>> low, high = without_spread("acc", 1.0, 48)  # 48/(48 + 1.96²)
    >>> round(low, 4), high
    (0.9259, 1.0)
    """
    if metric not in _SHARES or value is None or not n or n < FEWEST or not 0 <= value <= 1:
        return None, None
    return wilson(value * n, n)


def around(value: float | None, stderr: float | None, ends: tuple[float, float]) -> Interval:
    """The normal approximation, cut to the metric's range; none without a standard error."""
    if value is None or stderr is None:
        return None, None
    return within((number(value - _Z95 * stderr), number(value + _Z95 * stderr)), value, ends)


def within(interval: Interval, value: float | None, ends: tuple[float, float]) -> Interval:
    """An interval cut to its metric's range; as it is where the value itself lies outside.

    >>> within((0.9, 1.1), 1.0, (0.0, 1.0)), within((95.0, 99.0), 97.0, (0.0, 1.0))
    ((0.9, 1.0), (95.0, 99.0))
    """
    low, high = interval
    if low is None or high is None or value is None or not ends[0] <= value <= ends[1]:
        return low, high
    return max(low, ends[0]), min(high, ends[1])
