r"""The sentences that a verdict rests on: by occlusion.

Zeiler and Fergus 2014, arXiv 1311.2901 (occlusion); Li et al. 2016, arXiv 1612.08220, eq. 1
(representation erasure). A verdict is that of its deciding chunk C = s_1 … s_n. Sentence s_i counts
as much as the log-odds m of "supported" drop without it,

    drop(s_i) = m(C, c) − m(C \ s_i, c)                     (nats)

so it speaks for the claim c where the drop is positive, and against it where it is negative: with
m(C) = 3.2 and m(C without "Anna lives in Rome.") = −4.1, that sentence has a drop of 7.3.

Of a supported claim also the *sufficient* sentences are sought (sufficiency of DeYoung et al. 2020,
arXiv 1911.03429): the first k sentences in the order of their drops, k as small as possible, that
alone and in the document's order still score above the threshold. k is at most 5.

Each occlusion is asked of the checker as a document of its own; those of all questions go through
it together. The work is bounded: a chunk of more than 64 sentences is occluded in 64 passages (or
fewer) of as many consecutive sentences each, so a question costs at most 69 prompts, each shorter
than its chunk. A chunk of one sentence has nothing left without it: its drop is None, at no cost.

Deviations: log-odds are subtracted, not log-probabilities divided by them, which keeps differences
apart where probabilities are near 0 or 1; units are sentences, not dimensions or words. Two
sentences that state the same have small drops both, since each stands in for the other; the
sufficient sentences then still name one of them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.planning import portions
from harness_factcg.checking.verdicts import Pair, Verdict

MOST_PASSAGES = 64
"""Occlusions of a chunk, at most."""
MOST_SUFFICIENT = 5
"""Sentences that are tried as sufficient, at most."""
MOST_NAMED = 3
"""Sentences that are named as what a verdict rests on, where none are known to suffice."""
LEAST_CHANGE = 1.0
"""Nats by which a sentence must change the log-odds to be named: the odds by a factor of e."""

_SLICE_CHARACTERS = 64_000_000
_SPACE = re.compile(r"\s+")


class Scorer(Protocol):
    """What scores pairs: a ``Checker``."""

    def chunks(self, document: str) -> list[str]:
        """A document's chunks."""

    def verdicts(
        self, pairs: Sequence[Pair], *, progress: bool = False, title: str = ""
    ) -> Mapping[Pair, Verdict]:
        """Score distinct pairs."""


class Question(NamedTuple):
    """What is explained: the log-odds (nats) of a claim with the deciding chunk of a document."""

    document: str
    claim: str
    margin: float
    chunk: str


class Passage(NamedTuple):
    """A sentence, or a run of them: characters of the document, and its drop of log-odds (nats)."""

    start: int
    end: int
    drop: float | None


@dataclass(frozen=True)
class Explanation:
    """What a verdict rests on.

    Attributes:
        start: First character of the deciding chunk in the document.
        end: The character after its last.
        passages: Its passages, in order; none where nothing was occluded.
        sufficient: Places in ``passages`` of those that alone make the claim supported; None where
            no few do, or the claim is not supported.
    """

    start: int
    end: int
    passages: tuple[Passage, ...]
    sufficient: tuple[int, ...] | None

    def rests_on(self, supported: bool) -> list[int]:
        """Places of the passages that the verdict rests on, in the document's order.

        Args:
            supported: The verdict. A supported claim rests on its sufficient passages, or else on
                those that speak most for it; another on those that speak most against it, which
                may be none: no sentence has to contradict a claim for it to be unsupported.
        """
        if supported and self.sufficient is not None:
            return list(self.sufficient)
        sign = 1 if supported else -1
        order = sorted(range(len(self.passages)), key=lambda k: -sign * self._drop(k))
        return sorted(k for k in order[:MOST_NAMED] if sign * self._drop(k) >= LEAST_CHANGE)

    def _drop(self, place: int) -> float:
        return self.passages[place].drop or 0.0


def explain(
    checker: Scorer,
    questions: Sequence[Question],
    *,
    threshold: float = 0.5,
    progress: bool = False,
) -> list[Explanation]:
    """Explain verdicts.

    Args:
        checker: What gave the verdicts.
        questions: What to explain, with the verdicts.
        threshold: Score above which a claim counts as supported.
        progress: Whether to show bars.

    Returns:
        An explanation for each question, in their order.
    """
    found: list[Explanation] = []
    slices = portions(questions, lambda q: len(q.chunk) * MOST_PASSAGES, budget=_SLICE_CHARACTERS)
    for part in slices:
        found += _explained(checker, part, threshold, progress)
    return found


def locate(checker: Scorer, questions: Sequence[Question]) -> list[Explanation]:
    """Where the deciding chunks are, and no more: nothing is occluded, nothing is asked."""
    return [
        Explanation(part.start, part.start + len(part.text), (), None)
        for part in _parts(checker, questions)
    ]


def _parts(checker: Scorer, questions: Sequence[Question]) -> list[_Parts]:
    chunks = {document: checker.chunks(document) for document in {q.document for q in questions}}
    return [_Parts.of(question, chunks[question.document]) for question in questions]


def _explained(
    checker: Scorer, questions: Sequence[Question], threshold: float, progress: bool
) -> list[Explanation]:
    """Two rounds: all sentences taken out one by one, then the first few of each ranking alone."""
    bar = log_odds_of(threshold)
    parts = _parts(checker, questions)
    without = [part.occluded() for part in parts]
    scored = checker.verdicts(
        [pair for pairs in without for pair in pairs], progress=progress, title="Leaving out"
    )
    drops: list[list[float | None]] = [
        [part.margin - scored[pair].margin for pair in pairs] or [None]
        for part, pairs in zip(parts, without, strict=True)
    ]
    sets = [
        _prefixes(own) if part.margin > bar else [] for part, own in zip(parts, drops, strict=True)
    ]
    alone = [part.alone(own) for part, own in zip(parts, sets, strict=True)]
    scored = checker.verdicts(
        [pair for pairs in alone for pair in pairs if pair],
        progress=progress,
        title="Reasons alone",
    )
    found = []
    for part, own, kept, pairs in zip(parts, drops, sets, alone, strict=True):
        margins = [scored[pair].margin if pair else part.margin for pair in pairs]
        enough = [places for places, margin in zip(kept, margins, strict=True) if margin > bar]
        found.append(part.explained(own, enough[0] if enough else None))
    return found


def _prefixes(drops: Sequence[float | None]) -> list[tuple[int, ...]]:
    """The first 1, 2, … places in the order of their drops, each set in the document's order."""
    order = sorted(range(len(drops)), key=lambda k: -(drops[k] or 0.0))
    return [tuple(sorted(order[:k])) for k in range(1, min(len(order), MOST_SUFFICIENT) + 1)]


def log_odds_of(probability: float) -> float:
    """The log-odds of a probability (nats); infinite at 0 and 1."""
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))


@dataclass(frozen=True)
class _Parts:
    """A deciding chunk as it stands in the document, and its passages.

    ``text`` is the chunk there, from ``start`` on; ``spans`` are the passages' characters in it.
    """

    claim: str
    margin: float
    text: str
    start: int
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, question: Question, chunks: Sequence[str]) -> _Parts:
        start, end = place_of(question.chunk, question.document, chunks)
        text = question.document[start:end]
        return cls(question.claim, question.margin, text, start, tuple(_spans(text)))

    def occluded(self) -> list[Pair]:
        """The text without each of its passages; nothing where there is but one."""
        places = range(len(self.spans))
        if len(places) == 1:
            return []
        return [Pair(self._only([p for p in places if p != k]), self.claim) for k in places]

    def alone(self, sets: Sequence[Sequence[int]]) -> list[Pair | None]:
        """Some sets of passages without the others; None for all passages, which is the chunk."""
        return [
            Pair(self._only(kept), self.claim) if len(kept) < len(self.spans) else None
            for kept in sets
        ]

    def _only(self, kept: Sequence[int]) -> str:
        """The text of some passages; a line break between two stays one."""
        words = ""
        for number, place in enumerate(kept):
            first, last = self.spans[place]
            if number:
                between = range(kept[number - 1], place)
                gaps = [self.text[self.spans[k][1] : self.spans[k + 1][0]] for k in between]
                words += next((gap for gap in gaps if len(f"{gap}.".splitlines()) > 1), gaps[0])
            words += self.text[first:last]
        return words

    def explained(
        self, drops: Sequence[float | None], sufficient: tuple[int, ...] | None
    ) -> Explanation:
        """The explanation, in places of the document."""
        passages = [
            Passage(self.start + first, self.start + last, drop)
            for (first, last), drop in zip(self.spans, drops, strict=True)
        ]
        end = self.start + len(self.text)
        return Explanation(self.start, end, tuple(passages), sufficient)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Characters of each sentence; of runs of sentences where there are too many."""
    spans: list[tuple[int, int]] = []
    for sentence in split_sentences(text):
        start = text.index(sentence, spans[-1][1] if spans else 0)
        spans.append((start, start + len(sentence)))
    run = -(-len(spans) // MOST_PASSAGES)
    for place in range(0, len(spans), run):
        together = spans[place : place + run]
        yield together[0][0], together[-1][1]


def place_of(chunk: str, document: str, chunks: Sequence[str]) -> tuple[int, int]:
    r"""Where a chunk stands in its document: start and end, whatever the white space in it.

    Args:
        chunk: One of ``chunks``, or a part of one that was too long for the model.
        document: The document.
        chunks: All its chunks, in order.

    Example:
        >>> place_of("Ben is.\nBen", "Ben sings. Ben  is. Ben too.", ["Ben sings.", "Ben is.\nBen"])
        (11, 23)
    """
    letters, places = _letters(document)
    before = chunks[: chunks.index(chunk)] if chunk in chunks else []
    wanted = _SPACE.sub("", chunk)
    start = letters.find(wanted, sum(len(_SPACE.sub("", text)) for text in before))
    assert start >= 0, "a chunk has its document's characters, in their order"
    return places[start], places[start + len(wanted) - 1] + 1


@functools.lru_cache(maxsize=16)
def _letters(document: str) -> tuple[str, Sequence[int]]:
    """The characters that are no white space, and the place of each."""
    return _SPACE.sub("", document), [found.start() for found in re.finditer(r"\S", document)]
