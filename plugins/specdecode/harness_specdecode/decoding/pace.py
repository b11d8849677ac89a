r"""How many tokens to draft in a round, by what rounds have taken and what drafts were worth.

With n rows in the batch and α_i the probability that a draft of row i is right, a round of m
drafted tokens writes (Leviathan et al. 2023, arXiv 2211.17192, equation 1)

    E(m) = Σ_i (1 − α_i^{m+1}) / (1 − α_i)

tokens in T(n, m) seconds, and the m with the most tokens a second is drafted, 0 among them. Theorem
3.8 has T(m) = 1 + m c: reading m + 1 tokens at the price of one. On a processor, and with many rows
anywhere, a wide pass costs more; so T is what the rounds themselves took, the shortest of the last
few at each n and m, and a straight line in between.

A way that was never tried has no price. The first rounds draft nothing, which costs no more than
plain decoding; then a draft is tried, and where none pays another one when half a per cent of the
time has paid for it. A first draft after rounds without one is not timed: the drafter must first
read what was written meanwhile.

α_i is the share of right ones among a row's drafts that were looked at, begun with the share of all
rows before, worth four drafts.

Worked example, one row, α = 0.5: E = 1, 1.5, 1.75. If rounds take 1, 1.2 and 1.6 seconds, m = 1
writes most: 1.25 tokens a second, against 1 and 1.09.

The choice depends on a clock, and so do the counts in an answer's trace; answers do not, as long as
the scheme is invariant. ``leviathan`` is not, and goes by ``best_length``, which knows no clock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

_KEPT = 5  # rounds whose shortest counts
_FIRST = 2  # rounds without drafts before one is tried
_SHARE = 0.005  # of the time that may go to tries where none pays
_WIDE = 0.05  # a guess: what one token more in a pass costs, of a pass
_WORTH = 4  # drafts that the share of all rows counts for in a new one
_BEGIN = 4, 5  # right ones of drafts looked at, before any is


class Pace:
    """Chooses the length of drafts; kept from one batch to the next.

    Args:
        gamma: Tokens drafted a round, at most.
        cost: Passes of the target that drafting a token takes, as far as sizes tell.
    """

    def __init__(self, gamma: int, cost: float) -> None:
        self._gamma, self._cost = gamma, cost
        self._seconds: dict[tuple[int, int], deque[float]] = defaultdict(
            lambda: deque(maxlen=_KEPT)
        )
        self._right, self._looked = _BEGIN
        self._trying = self._untimed = False  # whether the last round was a try, and timed
        self._credit = 0.0  # seconds that tries may take
        self._spent = self._loss = 0.0  # seconds that this try and the last one took beyond

    def saw(self, right: int, looked: int) -> None:
        """Drafted tokens that were right, of those that were looked at."""
        self._right += right
        self._looked += looked

    def alpha(self, right: int, looked: int) -> float:
        """Probability that a row's next draft is right."""
        share = self._right / self._looked
        return (_WORTH * share + right) / (_WORTH + looked)

    def length(self, alphas: Sequence[float]) -> int:
        """Tokens to draft in a round of rows with these probabilities."""
        rows = _bucket(len(alphas))
        if len(self._seconds[rows, 0]) < _FIRST:
            return 0
        lengths = np.arange(self._gamma + 1)
        powers = np.asarray(alphas)[:, None] ** lengths
        prices = self._prices(rows)
        worth = powers.cumsum(axis=1).sum(axis=0) / prices
        best = int(worth.argmax())
        self._trying = best == 0
        if best:
            return best
        next_best = 1 + int(worth[1:].argmax())
        tried = any(self._seconds[rows, m] for m in range(1, self._gamma + 1))
        loss = max(self._loss, prices[next_best] - prices[0])
        return next_best if not tried or self._untimed or self._credit > loss else 0

    def took(self, rows: int, length: int, seconds: float, *, caught_up: bool) -> None:
        """Note a round.

        Args:
            rows: Rows in it.
            length: Tokens drafted.
            seconds: What it took.
            caught_up: Whether the drafter had to read more than the tokens of the round before.
        """
        plain = self._seconds[_bucket(rows), 0]
        self._untimed = caught_up and self._trying
        if length == 0:
            self._credit += _SHARE * seconds
            self._loss, self._spent = self._spent or self._loss, 0.0
        elif self._trying and plain:
            beyond = max(0.0, seconds - min(plain))
            self._credit, self._spent = self._credit - beyond, self._spent + beyond
        if not caught_up:
            self._seconds[_bucket(rows), length].append(seconds)

    def _prices(self, rows: int) -> Any:
        """Seconds of a round by its length, 0 to γ."""
        known = [m for m in range(self._gamma + 1) if self._seconds[rows, m]]
        seconds = [min(self._seconds[rows, m]) for m in known]
        rise = seconds[0] * (self._cost + _WIDE)
        if len(known) > 1:
            rise = max(0.0, (seconds[-1] - seconds[0]) / (known[-1] - known[0]))
        beyond = self._gamma + 1
        known.append(beyond)
        seconds.append(seconds[-1] + rise * (beyond - known[-2]))
        return np.interp(np.arange(beyond), known, seconds)


def _bucket(rows: int) -> int:
    """Rows up to the next power of two are alike."""
    return 1 << (rows - 1).bit_length()


def best_length(alpha: float, cost: float, longest: int) -> int:
    """The draft that writes most for its cost by theorem 3.8, at least one token.

    Args:
        alpha: Probability that a drafted token is right, 0 to 1.
        cost: Passes of the target that drafting a token takes.
        longest: Tokens at most.
    """

    def worth(m: int) -> float:
        return sum(alpha**j for j in range(m + 1)) / (m * cost + 1)

    return max(range(1, longest + 1), key=worth)
