"""The rows of a batch, and one round of drafting and checking them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness import Prompt
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.course import Course
from harness_specdecode.decoding.sampling import Sampling, along
from harness_specdecode.decoding.schemes import Draft, Scheme, Verdict


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        prompt: Token ids, at least one.
        key: The request's key in the noise field.
        limit: Tokens of an answer at most, at least one.
        asked: The prompt as text, with what the model's other parts say of it.
    """

    prompt: Sequence[int]
    key: int
    limit: int
    asked: Prompt | None = None


@dataclass
class Answer:
    """A row while it is written, and afterwards.

    Args:
        request: What was asked for.
        tokens: The answer's tokens; the last one may be an end.
        accepted: Drafted tokens that were written.
        proposed: Drafted tokens.
        accepted_at: How often the draft's j-th token was written.
        target_calls: Forward passes of the target this row took part in; the first one reads its
            prompt.
        drafter_calls: Forward passes of the drafter, likewise.
        near_tie_at: Places in ``tokens`` whose choice was within rounding.
        seconds: From entering the batch to leaving it.
        rounds: Of each round how many tokens were written before it, how many of its draft were
            accepted, and the ids of what was drafted after those.
    """

    request: Request
    tokens: list[int] = field(default_factory=list)
    accepted: int = 0
    proposed: int = 0
    accepted_at: list[int] = field(default_factory=list)
    target_calls: int = 0
    drafter_calls: int = 0
    near_tie_at: list[int] = field(default_factory=list)
    seconds: float = 0.0
    rounds: list[tuple[int, int, Tensor]] = field(default_factory=list)
    text: list[int] = field(default_factory=list)  # prompt and answer
    wrong: int = 0  # drafts in which a token was
    beside: int = 0  # accepted tokens that stood beside a draft
    ended: bool = False

    @property
    def room(self) -> int:
        """Tokens that may still be written."""
        return self.request.limit - len(self.tokens)

    @property
    def near_ties(self) -> int:
        """Tokens whose choice was within rounding."""
        return len(self.near_tie_at)


class Round:
    """The rows of a batch at the start of a round.

    Args:
        texts: Tokens of prompt and answer so far, a row.
        counts: How many tokens are to be drafted, a row.
        keys: Request keys [n], as int64 bits.
        positions: Output position of the next token, a row.
        sampling: How scores are made.
        scheme: How tokens are drawn and checked.
        vocabulary: Number of ids V of the target.
        seen: Ids that occur in each text, bool [n, V], if ``sampling`` penalises.
        course: Decides while drafting whether to go on; without one all counts are drafted.
    """

    def __init__(
        self,
        *,
        texts: Sequence[list[int]],
        counts: list[int],
        keys: Tensor,
        positions: Sequence[int],
        sampling: Sampling,
        scheme: Scheme,
        vocabulary: int,
        seen: Tensor | None = None,
        course: Course | None = None,
    ) -> None:
        self.texts, self.counts, self.course = texts, counts, course
        self._keys, self._sampling, self._scheme = keys, sampling, scheme
        first = torch.tensor(positions).unsqueeze(-1)
        self._spots = Spot(keys, (first + torch.arange(max(counts) + 1)).to(keys.device))
        self._vocabulary, self._seen = vocabulary, seen

    def start(self) -> Tensor:
        """No tokens yet [n, 0]."""
        return torch.zeros(len(self.texts), 0, dtype=torch.int64, device=self._keys.device)

    def draw(self, logits: Tensor, j: int, drafted: Tensor) -> tuple[Tensor, Tensor | None]:
        """A drafter's tokens at step j.

        Args:
            logits: The drafter's, over its own ids [n, V'].
            j: The step, from 0.
            drafted: Ids drafted before in this round [n, j].

        Returns:
            Ids [n], and what they were drawn from [n, V] if the scheme needs it.
        """
        logits = of_width(logits.to(self._keys.device), self._vocabulary)
        seen = self._seen
        if seen is not None and j:
            seen = along(seen, drafted)[:, -1]
        scores = self._sampling.scores(logits, seen)
        drawn = self._scheme.draw(scores, self._spots.column(j))
        if self.course is not None:
            self.course.drew(drawn)
        return drawn.tokens, drawn.distribution

    def more(self) -> bool:
        """Whether another token is worth drafting."""
        return self.course is None or self.course.more()

    def verify(self, logits: Tensor, draft: Draft) -> Verdict:
        """What the target writes.

        Args:
            logits: The target's, behind the last token, each drafted one and each guess beside the
                draft [n, m + 1 + L, V].
            draft: What was drafted.
        """
        precision = torch.finfo(logits.dtype).eps
        logits = logits.to(self._keys.device)
        tokens = draft.tokens = draft.tokens.to(logits.device)
        seen, spot = None, self._spots.first(tokens.shape[1] + 1)
        if self._seen is not None:
            first = self._seen.unsqueeze(1)
            seen = torch.cat([first, along(self._seen, tokens)], dim=1) if len(tokens[0]) else first
        if draft.branches:
            places, ids = draft.padded_beside()
            spot = spot.and_of(places + 1)
            if seen is not None:
                rows = torch.arange(len(ids), device=ids.device).unsqueeze(-1)
                there = seen[rows, places].scatter(-1, ids.unsqueeze(-1), True)
                seen = torch.cat([seen, there], dim=1)
        scores = self._sampling.scores(logits, seen)
        return self._scheme.verify(scores, draft, spot, precision)


def of_width(logits: Tensor, width: int) -> Tensor:
    """A drafter's logits over the target's ids: embeddings may be padded to another size."""
    missing = width - logits.shape[-1]
    return torch.nn.functional.pad(logits, (0, missing), value=-torch.inf)  # negative: cut
