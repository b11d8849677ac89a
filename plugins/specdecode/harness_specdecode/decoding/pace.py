r"""How much to draft in a round, by what rounds have taken and what drafts were worth.

With n rows in the batch and α_i the probability that a draft of row i is right, a round of m
drafted tokens writes (Leviathan et al. 2023, arXiv 2211.17192, equation 1)

    E(m) = Σ_i (1 − α_i^{m+1}) / (1 − α_i)

tokens in T(n, m) seconds, and the m with the most tokens a second is drafted, 0 among them. Theorem
3.8 has T(m) = 1 + m c: reading m + 1 tokens at the price of one. On a processor, and with many rows
anywhere, a wide pass costs more; so

    T(n, m) = C(n, m + 1) + m D(n)

where C(n, w), a pass of the target over w tokens a row and the rest of a round, and D(n), a step of
the drafter, are what the rounds themselves took, the shortest of the last few at each n and w (at
an n that was not met, of the next more rows up to a power of two), and a straight line in between.
In the round itself ``course`` decides again after each token.

A way that was never tried has no price. The first rounds draft nothing, which costs no more than
plain decoding; then a few drafts are tried, and where none pays another one when half a per cent of
the time has paid for it. Before a first draft, and after rounds without one, the drafter must read
what it has not; that is not a step's price, and drafts are made only if what is still to be written
pays for it, and with several rows twice: these end apart where they draft, and what the last of
them cost, alone in a batch, is in no price.

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

from harness_specdecode.decoding.shares import MATCHES, Shares

_KEPT = 5  # rounds whose shortest counts
_FIRST = 2  # rounds without drafts before one is tried
_GAIN = 1.05  # tokens a second of drafts over those without, at least
_EARNED = 2  # times what the drafter has yet to read, at least, with several rows
_TRIES = 3  # of the first drafts: one alone may have met a busy machine
_SHARE = 0.005  # of the time that may go to tries where none pays
_WIDE = 0.05  # a guess: what one token more in a pass costs, of a pass
_WORTH = 4  # drafts that the share of all rows counts for in a new one
_BEGIN = 4, 5  # right ones of drafts looked at, before any is
_MEMORY = 0.98  # of tokens and seconds of the rounds before, from each to the next

Seconds = defaultdict[int, deque[float]]
"""What rounds took, by their number of rows."""


class Pace:
    """Chooses what is drafted; kept from one batch to the next.

    Args:
        gamma: Tokens drafted a round, at most.
        cost: Passes of the target that drafting a token takes, as far as sizes tell; 0 for drafts
            that no model makes.
    """

    def __init__(self, gamma: int, cost: float) -> None:
        self.gamma, self._cost = gamma, cost
        self._check: dict[tuple[int, int], Seconds] = defaultdict(_seconds)
        self._draft: dict[int, Seconds] = defaultdict(_seconds)
        self._right, self._looked = _BEGIN
        self.shares, self.matches = Shares(), Shares(MATCHES)
        self._done: dict[int, tuple[float, float]] = {}  # tokens, seconds of late rounds
        self._trying = self._untimed = False  # whether the last round was a try, and timed
        self._reading = 0.0  # seconds in which the drafter reads a token, once it did
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

    def length(self, alphas: Sequence[float], *, unread: int = 0, room: int = 0) -> int:
        """Tokens to draft in a round of rows with these probabilities.

        Args:
            alphas: Probability that a draft is right, a row.
            unread: Tokens that the drafter must read before, in all rows.
            room: Tokens that may still be written, in all rows; by then it must pay.
        """
        rows = len(alphas)
        if not self.begun(rows):
            return 0
        lengths = np.arange(self.gamma + 1)
        powers = np.asarray(alphas)[:, None] ** lengths
        prices = self.checks(rows, self.gamma + 1) + lengths * self.step(rows)
        worth = powers.cumsum(axis=1).sum(axis=0) / prices
        best = int(worth.argmax())
        next_best = 1 + int(worth[1:].argmax())
        reading = unread * (self._reading or self._cost * _WIDE * prices[0])
        earned = _EARNED if rows > 1 else 1
        gain = room * (1 / worth[0] - 1 / worth[best])
        if worth[best] > _GAIN * worth[0] and (not unread or gain > earned * reading):
            return best
        return self.tried(rows, next_best, prices[next_best] - prices[0] + reading)

    def begun(self, rows: int) -> bool:
        """Whether rounds without drafts were timed."""
        return _number(self._check[_bucket(rows), 1]) >= _FIRST

    def tried(self, rows: int, length: int, loss: float) -> int:
        """The length, if it may be tried though it will not pay, else 0.

        Args:
            rows: Rows in the round.
            length: What would be drafted.
            loss: Seconds it is expected to take beyond a round without drafts.
        """
        self._trying = True
        bucket = _bucket(rows)
        timed = sum(
            _number(found) for (b, w), found in self._check.items() if b == bucket and w > 1
        )
        affordable = self._credit > max(self._loss, loss)
        return length if timed < _TRIES or self._untimed or affordable else 0

    def took(
        self,
        rows: int,
        *,
        steps: int,
        width: int,
        written: int,
        drafting: float,
        checking: float,
        unread: int = 0,
    ) -> None:
        """Note a round.

        Args:
            rows: Rows in it.
            steps: Tokens drafted one after the other.
            width: Tokens a row in the pass of the target.
            written: Tokens written, in all rows.
            drafting: Seconds of the drafter.
            checking: Seconds of all else.
            unread: Tokens that the drafter read beyond those of the round before, in all rows.
        """
        bucket, seconds = _bucket(rows), drafting + checking
        caught_up = unread > 0
        plain = self._check[bucket, 1]
        self._untimed = caught_up and self._trying
        if width == 1:
            self._credit += _SHARE * seconds
            self._loss, self._spent = self._spent or self._loss, 0.0
        elif self._trying and plain:
            beyond = max(0.0, seconds - _shortest(plain, rows))
            self._credit, self._spent = self._credit - beyond, self._spent + beyond
        self._trying = False
        self._check[bucket, width][rows].append(checking)
        if caught_up:
            self._reading = max(0.0, drafting - steps * self.step(rows)) / unread
        elif steps:
            self._draft[bucket][rows].append(drafting / steps)
        tokens, before = self._done.get(bucket, (0.0, 0.0))
        price = self.checks(rows, width)[-1] + steps * self.step(rows)
        self._done[bucket] = tokens * _MEMORY + written, before * _MEMORY + price

    def rate(self, rows: int) -> float:
        """Tokens a second of late rounds at their prices; no less than without drafts."""
        tokens, seconds = self._done.get(_bucket(rows), (0.0, 0.0))
        plain = rows / float(self.checks(rows, 1)[0])
        return max(plain, tokens / seconds) if seconds else plain

    def step(self, rows: int) -> float:
        """Seconds of drafting one token in each row."""
        known = self._draft[_bucket(rows)]
        return _shortest(known, rows) if known else self._cost * float(self.checks(rows, 1)[0])

    def checks(self, rows: int, widest: int) -> Any:
        """Seconds of a round, drafting apart, with 1 to so many tokens a row in the pass."""
        bucket = _bucket(rows)
        known = [w for w in range(1, widest + 1) if self._check[bucket, w]]
        known = known or [w for b, w in self._check if b == bucket and self._check[b, w]]
        seconds = [_shortest(self._check[bucket, w], rows) for w in known]
        # A busy machine makes passes dearer and never cheaper, and a wider one costs no less: what
        # one has taken is the most that a narrower one can.
        seconds = list(np.minimum.accumulate(seconds[::-1])[::-1])
        rise = seconds[0] * _WIDE
        if len(known) > 1:
            rise = (seconds[-1] - seconds[0]) / (known[-1] - known[0])
        beyond = max(widest, known[-1]) + 1
        seconds.append(seconds[-1] + rise * (beyond - known[-1]))
        return np.interp(np.arange(1, widest + 1), [*known, beyond], seconds)


def _bucket(rows: int) -> int:
    """Rows up to the next power of two are alike, where no more is known of them."""
    return 1 << (rows - 1).bit_length()


def _seconds() -> Seconds:
    return defaultdict(lambda: deque(maxlen=_KEPT))


def _number(found: Seconds) -> int:
    return sum(map(len, found.values()))


def _shortest(found: Seconds, rows: int) -> float:
    """Seconds with as many rows or the next more, else the next fewer: fewer rows take less."""
    alike = min((known for known in found if known >= rows), default=max(found))
    return min(found[alike])


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
