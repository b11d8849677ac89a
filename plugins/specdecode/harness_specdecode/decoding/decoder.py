r"""Speculative decoding in batches: each row accepts its own number of drafted tokens a round.

Daliri, Musco and Suresh 2024 (arXiv 2408.07978), §5; Leviathan et al. 2023 (arXiv 2211.17192).
With t tokens written in a row, a round is:

    draft     y_t … y_{t+m−1}                                      by any ``Drafter``
    check     one forward pass of the target over the last token and the draft, m + 1 rows of scores
    write     the first n that are right, and one more: the correction, or the bonus behind the last
    go back   the cache's length of the row becomes that of its text

so that a forward pass of the target writes 1 to m + 1 tokens. The pass that reads the prompt writes
the first. Schemes are in ``schemes``.

A row leaves the batch when its answer ends, the last row takes its slot, and the next request
enters. A round in which a row wants no more than r tokens drafts at most r − 1 for it.

``adaptive`` chooses m by what rounds have taken and drafts were worth (``pace``), and whether the
same pass checks other guesses beside the draft (``course``); or, without a pace, m for each row by
itself, 1 to γ, by theorem 3.8 of Leviathan et al.,

    (1 − α^{m+1}) / (1 − α) / (m c + 1),    α = (4 + right) / (5 + right + wrong)

where c is the drafter's cost and α the share of right ones among drafts looked at.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from harness import Place, Prompt
from harness_specdecode.decoding.course import Course
from harness_specdecode.decoding.drafters import Drafter, certain
from harness_specdecode.decoding.pace import Pace, best_length
from harness_specdecode.decoding.rounds import Answer, Request, Round
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.schemes import Draft, Scheme, Verdict
from harness_specdecode.decoding.slots import PREFILL_TOKENS, SlotModel

Passes = Callable[[Sequence[Prompt | None], Sequence[Place]], AbstractContextManager[Any]]


def unedited(rows: Sequence[Prompt | None], places: Sequence[Place]) -> AbstractContextManager[Any]:
    """Passes of a model as it is."""
    return nullcontext()


class Decoder:
    """Writes answers to requests, a batch at a time.

    Args:
        target: Slots of the target, as many as rows are decoded together.
        drafter: Who drafts.
        scheme: How tokens are drawn and checked.
        sampling: How scores are made of logits.
        gamma: Tokens drafted a round, at most.
        adaptive: Whether fewer are drafted where that pays.
        pace: What rounds took before, if it may go by the clock.
        ends: Tokens that end an answer.
        stopped: Whether an answer is at its end, asked after each token.
        passes: Entered around each forward pass of the target (``harness.Wrapper.passes``).
    """

    def __init__(
        self,
        target: SlotModel,
        drafter: Drafter,
        scheme: Scheme,
        sampling: Sampling,
        *,
        gamma: int,
        adaptive: bool = False,
        pace: Pace | None = None,
        ends: Collection[int] = (),
        stopped: Callable[[Sequence[int]], bool] = lambda tokens: False,
        passes: Passes = unedited,
    ) -> None:
        self.target, self.drafter, self.scheme, self.sampling = target, drafter, scheme, sampling
        self._gamma, self._adaptive, self._pace = gamma, adaptive, pace if adaptive else None
        self._ends, self._stopped, self._passes = frozenset(ends), stopped, passes
        self._device = scheme.noise.device
        self._vocabulary = int(target.config.vocab_size)
        self._rows: list[Answer] = []
        self._keys = torch.zeros(target.rows, dtype=torch.int64, device=self._device)
        self._seen: torch.Tensor | None = None
        if sampling.penalises:
            shape = target.rows, self._vocabulary
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self._device)

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Answer]]:
        """Answers as they end, each with its request's place."""
        waiting = deque(enumerate(requests))
        places: list[int] = []
        while waiting or self._rows:
            free = min(self.target.rows - len(self._rows), len(waiting))
            if free:
                entering = [waiting.popleft() for _ in range(free)]
                places += [place for place, _ in entering]
                self._enter([request for _, request in entering])
                yield from self._finished(places)
            if self._rows:
                self._round()
                yield from self._finished(places)

    def _finished(self, places: list[int]) -> Iterator[tuple[int, Answer]]:
        """Rows that have ended leave."""
        for row in reversed(range(len(self._rows))):
            answer = self._rows[row]
            if answer.ended:
                self._leave(row)
                answer.seconds += time.perf_counter()
                place, places[row] = places[row], places[-1]
                places.pop()
                yield place, answer

    def _ended(self, answer: Answer) -> bool:
        done = not answer.room or answer.tokens[-1] in self._ends
        return done or self._stopped(answer.tokens)

    @torch.inference_mode()
    def _enter(self, requests: Sequence[Request]) -> None:
        """Read prompts into the slots behind the rows, and write each answer's first token."""
        for group in self._together(requests):
            first, started = len(self._rows), -time.perf_counter()
            prompts = [request.prompt for request in group]
            with self._around(group, [0] * len(group), len(group)):
                logits = self.target.read(range(first, first + len(group)), prompts)
            self.drafter.enter(prompts)
            for row, request in enumerate(group, start=first):
                self._keys[row] = self.scheme.noise.rows([request.key], 0)[0][0]
                self._rows.append(Answer(request, seconds=started, text=list(request.prompt)))
                if self._seen is not None:
                    self._seen[row] = False
                    self._seen[row, torch.tensor(request.prompt, device=self._device)] = True
            nothing = certain([[] for _ in group])
            verdict = self._current([0] * len(group), first).verify(logits.unsqueeze(1), nothing)
            self._write(nothing, verdict, first=first)

    def _around(
        self, requests: Sequence[Request], starts: Sequence[int], rows: int
    ) -> AbstractContextManager[Any]:
        """The context of a pass of the target over some rows; those behind are nobody's."""
        nobody = rows - len(requests)
        places = [Place(s, len(r.prompt)) for s, r in zip(starts, requests, strict=True)]
        return self._passes(
            [*(request.asked for request in requests), *[None] * nobody],
            [*places, *[Place(0, 0)] * nobody],
        )

    def _together(self, requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
        """Requests whose prompts are read in one pass."""
        longest = max(len(request.prompt) for request in requests)
        size = 1 if self.target.fixed_width else max(1, PREFILL_TOKENS // longest)
        for start in range(0, len(requests), size):
            yield requests[start : start + size]

    @torch.inference_mode()
    def _leave(self, row: int) -> None:
        last = len(self._rows) - 1
        if row != last:
            self.target.move(last, row, len(self._rows[last].text) - 1)
            self._keys[row] = self._keys[last]
            if self._seen is not None:
                self._seen[row] = self._seen[last]
        self.drafter.leave(row, last)
        self._rows[row] = self._rows[last]
        self._rows.pop()

    @torch.inference_mode()
    def _round(self) -> None:
        rows, started = self._rows, time.perf_counter()
        lengths = zip(self._lengths(), rows, strict=True)
        current = self._current([min(length, answer.room - 1) for length, answer in lengths])
        current.course = course = self._course(current.counts)
        before, unread = self.drafter.calls, self.drafter.unread(current.texts)
        draft = self.drafter.propose(current)
        drafted = time.perf_counter()
        last = torch.tensor([[answer.text[-1]] for answer in rows], device=draft.tokens.device)
        starts = [len(answer.text) - 1 for answer in rows]
        wide = self.target.rows if self.target.fixed_width else len(rows)
        ids, places = torch.cat([last, draft.tokens], dim=-1), None
        if draft.branches:
            places, guesses = draft.padded_beside()
            ids = torch.cat([ids, guesses], dim=-1)
        with self._around([answer.request for answer in rows], starts, wide):
            logits = self.target.step(ids, starts, places)
        verdict = current.verify(logits, draft)
        self._settle(draft, verdict, starts)
        if course is not None:
            course.learn(draft, verdict)
        calls, held = self.drafter.calls - before, sum(len(answer.tokens) for answer in rows)
        self._write(draft, verdict, drafter_calls=calls)
        if self._pace is not None:  # what was drawn is at hand: the device has done its work
            self._pace.took(
                len(starts), steps=draft.tokens.shape[1] if calls else 0, width=ids.shape[1],
                written=sum(len(answer.tokens) for answer in rows) - held,
                drafting=drafted - started, checking=time.perf_counter() - drafted,
                unread=unread if calls else 0,
            )  # fmt: skip

    def _course(self, counts: Sequence[int]) -> Course | None:
        """Decisions on the way, where the clock may be asked and something may be drafted."""
        if self._pace is None or not max(counts):
            return None
        treated = any(row.request.asked and row.request.asked.treatment for row in self._rows)
        alphas = [self._alpha(row) for row in self._rows]
        branches = not self.target.fixed_width and not treated
        return Course(self._pace, alphas, counts, branches=branches)

    def _settle(self, draft: Draft, verdict: Verdict, starts: Sequence[int]) -> None:
        """Guesses that were right move to their places in the target's cache."""
        if verdict.taken:
            rows, chain = list(verdict.taken), draft.tokens.shape[1]
            sources = [starts[row] + 1 + chain + verdict.taken[row] for row in rows]
            self.target.settle(rows, sources, [starts[row] + verdict.accepted[row] for row in rows])

    def _current(self, counts: list[int], first: int = 0) -> Round:
        """The rows, from one of them on, as they are now."""
        rows = self._rows[first:]
        return Round(
            texts=[answer.text for answer in rows],
            counts=counts,
            keys=self._keys[first : len(self._rows)],
            positions=[len(answer.tokens) for answer in rows],
            sampling=self.sampling,
            scheme=self.scheme,
            vocabulary=self._vocabulary,
            seen=None if self._seen is None else self._seen[first : len(self._rows)],
        )

    def _lengths(self) -> list[int]:
        """Tokens to draft, a row."""
        rows = self._rows
        if not self._adaptive:
            return [self._gamma] * len(rows)
        if self._pace is not None:
            pace = self._pace
            if not self.drafter.cost:  # what is at hand is cut to what is worth reading
                return [self._gamma if pace.begun(len(rows)) else 0] * len(rows)
            unread = self.drafter.unread([row.text for row in rows])
            room = sum(row.room for row in rows)
            alphas = [self._alpha(row) for row in rows]
            return [pace.length(alphas, unread=unread, room=room)] * len(rows)
        return [
            best_length(
                (4 + row.accepted) / (5 + row.accepted + row.wrong), self.drafter.cost, self._gamma
            )
            for row in rows
        ]

    def _alpha(self, row: Answer) -> float:
        """Probability that the next token of a row's draft is right."""
        assert self._pace is not None, "shares are the pace's"
        right = row.accepted - row.beside
        return self._pace.alpha(right, right + row.wrong)

    def _write(
        self, draft: Draft, verdict: Verdict, *, first: int = 0, drafter_calls: int = 0
    ) -> None:
        tokens, near = verdict.tokens.tolist(), verdict.near_ties.tolist()
        for row, answer in enumerate(self._rows[first:]):
            accepted, proposed = verdict.accepted[row], draft.counts[row]
            answer.target_calls += 1
            answer.drafter_calls += drafter_calls
            answer.proposed += proposed + (len(draft.beside[row]) if draft.beside else 0)
            taken = row in verdict.taken
            unread = draft.tokens[row, accepted - taken : proposed]
            answer.rounds.append((len(answer.tokens), accepted, unread))
            wrong = taken or accepted < proposed
            answer.beside += taken
            answer.wrong += wrong
            if self._pace is not None:
                self._pace.saw(accepted - taken, accepted - taken + wrong)
            answer.accepted_at += [0] * (proposed - len(answer.accepted_at))
            for j in range(accepted + 1):
                if near[row][j]:
                    answer.near_tie_at.append(len(answer.tokens))
                answer.tokens.append(tokens[row][j])
                if j < accepted:
                    answer.accepted += 1
                    answer.accepted_at[j] += 1
                answer.ended = self._ended(answer)
                if answer.ended:
                    break
            written = answer.tokens[len(answer.text) - len(answer.request.prompt) :]
            answer.text += written
            if self._seen is not None:
                self._seen[first + row, torch.tensor(written, device=self._device)] = True
