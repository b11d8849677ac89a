"""From a number to a rating: what is good and what is bad of its kind says where 0 and 2 are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """A straight line: ``low`` and what is below is rated 0, ``high`` and what is above 2."""

    low: float
    high: float

    @classmethod
    def between(cls, bad: Sequence[float], good: Sequence[float]) -> Scale | None:
        """From the upper quartile of the bad to the lower quartile of the good.

        Returns:
            None where they do not lie in this order: then the number tells nothing.

        Example:
            >>> Scale.between([0, 1, 2], [3, 4, 5]).rating(2.5)
            1.0
        """
        low, high = float(np.quantile(bad, 0.75)), float(np.quantile(good, 0.25))
        return cls(low, high) if low < high else None

    def rating(self, value: float) -> float:
        """The rating of a value, from 0 to 2."""
        return 2 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
