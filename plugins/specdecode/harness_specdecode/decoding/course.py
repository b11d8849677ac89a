r"""One round's drafting, decided again after every token.

Let λ be the tokens a second that rounds have written of late. A round is best where what it writes,
less λ times what it takes, is largest; so with r_i the probability that row i's draft is right up
to here, α_i that of its next tokens, C and D the prices of ``pace``:

    another token is drafted while  max_k Σ_i r_i (α_i + … + α_i^k) − λ (C(w + k) − C(w) + k D) > 0

*Beside the chain.* With shared Gumbel noise, and at temperature 0, the target picks its token by
itself, and drafts only guess it. So a position may have several guesses: the drafter's K best
perturbed tokens, all of one noise (Daliri, Musco and Suresh 2024 for the coupling; one stream for
all K, so that the text still depends on the target alone). The best is drafted on; others stand
beside the chain, each read by the target in the same pass behind the tokens before it. Where the
target picks one of them, it and the token behind it are written. The drafter makes no pass for it.
A guess beside the chain is read while

    Σ_i r_i h_i − λ (C(w + 1) − C(w)) > 0

with h_i its probability by the gap of its score to the best (``shares``), the likeliest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness_specdecode.decoding.pace import Pace
from harness_specdecode.decoding.schemes import Draft, Drawn, Verdict
from harness_specdecode.decoding.shares import GUESSES, steps_of

WIDEST = 16
"""Tokens of a row in one pass of the target, where some stand beside the chain."""

Beside = list[list[tuple[int, int]]]
"""For each row the guesses beside its chain: the place that they guess, and the token."""


class Course:
    """The decisions of one round.

    Args:
        pace: Prices and shares.
        alphas: Probability that a draft is right, a row.
        counts: Tokens that may be drafted, a row.
        branches: Whether guesses may stand beside the chain.
    """

    def __init__(
        self, pace: Pace, alphas: Sequence[float], counts: Sequence[int], *, branches: bool
    ) -> None:
        rows = len(counts)
        self._pace, self._branches = pace, branches
        self._alphas, self._counts = np.asarray(alphas), np.asarray(counts)
        self._rate, self._step = pace.rate(rows), pace.step(rows)
        self._checks = pace.checks(rows, max(WIDEST, max(counts) + 1))
        self._reach = [np.ones(rows)]  # that a row's draft is right before each place
        self._drafted = 0
        self._tokens: list[Any] = []
        self._steps: list[Any] = []
        self._possible: list[Any] = []
        self._matched: Any = None

    def drew(self, drawn: Drawn) -> None:
        """A token was drafted in each row."""
        self._drafted += 1
        if drawn.guesses is None or drawn.scores is None:
            self._reach.append(self._reach[-1] * self._alphas)
            return
        scores = drawn.scores.double().cpu().numpy()
        missing = (0, 0), (0, GUESSES - scores.shape[1])  # top-p and the like leave fewer tokens
        scores = np.pad(scores, missing, constant_values=-np.inf)
        steps = steps_of(scores)
        self._possible.append(np.isfinite(scores))
        self._tokens.append(np.pad(drawn.guesses.cpu().numpy(), missing, mode="edge"))
        self._steps.append(steps)
        self._reach.append(self._reach[-1] * self._pace.shares.of(steps)[:, 0])

    def more(self) -> bool:
        """Whether to draft another token."""
        j = self._drafted
        reach = self._reach[-1] * (self._counts > j)
        k = np.arange(1, max(self._counts) - j + 1)
        worth = (reach[:, None] * (self._alphas[:, None] ** k).cumsum(1)).sum(0)
        price = self._checks[j + k] - self._checks[j] + k * self._step
        return bool((worth > self._rate * price).any())

    def length_of(self, lengths: Sequence[int], matches: Sequence[int]) -> int:
        """How much to keep of drafts that are at hand.

        Args:
            lengths: Tokens of each.
            matches: How long the match was that they followed, 0 where there is none.
        """
        widest = max(lengths)
        j = np.arange(widest)
        steps = 2 * np.maximum(np.asarray(matches), 1)[:, None] - 2 + (j > 0)
        shares = self._pace.matches.of(steps.reshape(-1, 1)).reshape(steps.shape)
        worth = np.cumsum((shares.cumprod(1) * (np.asarray(lengths)[:, None] > j)).sum(0))
        price = self._checks[1 : widest + 1] - self._checks[0]
        gains = np.r_[0.0, worth - self._rate * price]
        best = int(gains.argmax())
        if widest and not best:
            next_best = 1 + int(gains[1:].argmax())
            best = self._pace.tried(len(lengths), next_best, float(price[next_best - 1]))
        self._matched = steps
        return best

    def beside(self) -> Beside:
        """The guesses to read beside the chains that were drafted."""
        chain = self._drafted
        found: Beside = [[] for _ in self._counts]
        room = min(WIDEST - 1 - chain, chain * 2)
        if not self._branches or not self._steps or room < 1:
            return found
        worth = [
            self._reach[j][:, None] * self._pace.shares.of(self._steps[j])[:, 1:]
            * (self._possible[j][:, 1:] & (self._counts > j)[:, None])
            for j in range(chain)
        ]  # fmt: skip
        gains = np.stack(worth, 1).reshape(len(found), -1)  # [n, chain · (k − 1)]
        order = np.argsort(-gains, 1)[:, :room]
        most = np.take_along_axis(gains, order, 1).sum(0).cumsum()
        price = self._checks[chain + 1 + np.arange(len(most))] - self._checks[chain]
        width = int(np.argmax(np.r_[0.0, most - self._rate * price]))
        others = gains.shape[1] // chain
        for row, ranked in enumerate(order[:, :width]):
            for place, k in (divmod(int(g), others) for g in ranked if gains[row, g] > 0):
                found[row].append((place, int(self._tokens[place][row, k + 1])))
        return found

    def learn(self, draft: Draft, verdict: Verdict) -> None:
        """What the target picked, at each place of a draft that was looked at."""
        for row, picked in enumerate(verdict.tokens.tolist()):
            right = verdict.accepted[row] - (row in verdict.taken)
            self._learn(row, right, picked[: min(right + 1, draft.counts[row])])

    def _learn(self, row: int, right: int, looked: Sequence[int]) -> None:
        if self._matched is not None:
            for j in range(len(looked)):
                self._pace.matches.saw(self._matched[row, j : j + 1], 0 if j < right else None)
        for j, token in enumerate(looked[: len(self._steps)]):
            guesses = self._tokens[j][row].tolist()
            hit = guesses.index(token) if token in guesses else None
            self._pace.shares.saw(self._steps[j][row], hit)
