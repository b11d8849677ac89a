"""What a model has to read for a set of pairs: windows of pairs, prompts, batches of like length.

Pairs go through in windows, grouped by document, so that memory does not grow with their number.
Within a window each document is chunked once and each (chunk, claim) prompt encoded once.

A chunk too long for the model is halved until it fits (``overlong="split"``), or loses its end
(``overlong="cut"``, as in the paper). The claim and the rest of the template are never cut. The
names of special tokens in a document or a claim are text there (``harness.asking.special``): the
template alone separates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from harness import HarnessError
from harness.asking.special import TextEncoder, unmarked
from harness.statistics import Floats
from harness_factcg.checking.chunking import (
    Chunker,
    count_spaced,
    count_words,
    fitted,
    halves,
    split_sentences,
)
from harness_factcg.checking.families import Family
from harness_factcg.checking.verdicts import Pair, Sentence, Verdict

T = TypeVar("T")

Ids = npt.NDArray[np.int32]
Overlong = Literal["split", "cut"]

LEAST_ROOM = 16
"""Tokens of the model's window that must be left to the document."""
WINDOW_PAIRS = 4096
WINDOW_CHARACTERS = 16_000_000

_SLICE = 1024


@dataclass(frozen=True)
class Asked:
    """A sentence of a claim (or all of it), the pieces it is read with, and the prompts' places."""

    sentence: str
    pieces: list[str]
    places: list[int]


@dataclass(frozen=True)
class Plan:
    """What a model has to read for a window of pairs, each prompt once.

    ``ids`` are the token ids of each distinct prompt, ``asked`` what is asked for a pair in the
    order of the claim's sentences and of the document's pieces, ``cut`` the places in ``ids`` of
    prompts whose document was cut.
    """

    ids: list[Ids]
    asked: dict[Pair, list[Asked]]
    cut: frozenset[int]
    family: Family

    def verdicts(self, margins: Sequence[float], seconds: Floats) -> Iterator[tuple[Pair, Verdict]]:
        """Put the answers together.

        Args:
            margins: Log-odds of each prompt (nats).
            seconds: Time of each prompt; pairs that share a prompt share its time.
        """
        users = np.zeros(len(self.ids))
        for asked in self.asked.values():
            for part in asked:
                np.add.at(users, part.places, 1)
        for pair, asked in self.asked.items():
            places = [place for part in asked for place in part.places]
            sentences = [
                Sentence.over(part.sentence, part.pieces, [margins[k] for k in part.places])
                for part in asked
            ]
            yield (
                pair,
                Verdict.over(
                    sentences,
                    self.family.aggregation,
                    truncated=not self.cut.isdisjoint(places),
                    seconds=float(sum(seconds[k] / users[k] for k in places)),
                ),
            )


class Planner:
    """Chunks documents and encodes prompts for one model.

    Args:
        tokenizer: Its (fast) tokenizer, or what encodes prompts in its place.
        family: How the model is asked.
        max_length: Tokens a prompt may have, special ones included.
        overlong: What to do with a chunk that is too long for the model.
        add_bos_token: As for ``TextEncoder``.

    Raises:
        HarnessError: The template does not go with the tokenizer.
    """

    def __init__(
        self,
        tokenizer: Any,
        family: Family,
        *,
        max_length: int,
        overlong: Overlong = "split",
        add_bos_token: bool | None = None,
    ) -> None:
        self.family = family.resolved(tokenizer)
        whole = hasattr(tokenizer, "bos_token_id")  # or an encoder of its own
        self._read = TextEncoder(tokenizer, add_bos_token) if whole else tokenizer
        self._plain = unmarked(tokenizer)
        self._max_length = max_length
        self._overlong = overlong
        self._chunker = Chunker(
            family.chunk_size,
            joint=family.joint,
            words=count_spaced if family.chunk_unit == "spaced" else count_words,
            count=self._count if family.chunk_unit == "tokens" else None,
        )

    def chunks(self, document: str) -> list[str]:
        """A document's chunks, before any is split or cut for the model."""
        return self._chunker([document])[document]

    def sentences(self, claim: str) -> list[str]:
        """What is judged of a claim one by one: its sentences, or all of it."""
        return split_sentences(claim) if self.family.splits_claims else [claim]

    def room(self, claims: Sequence[str]) -> list[int]:
        """Tokens left to the document beside each claim (its longest sentence) and the template."""
        found: list[int] = []
        for start in range(0, len(claims), _SLICE):
            part = [self.sentences(claim) for claim in claims[start : start + _SLICE]]
            prompts = [self._prompt(Pair("", text)) for texts in part for text in texts]
            lengths = iter([len(ids) for ids in self._encode(prompts)])
            found += [self._max_length - max(next(lengths) for _ in texts) for texts in part]
        return found

    def plan(self, pairs: Iterable[Pair]) -> Plan:
        """Chunk each document once, and encode each distinct (piece, claim sentence) once.

        Args:
            pairs: A window of them.

        Raises:
            HarnessError: A document or a claim is empty, or a claim leaves no room for a document.
        """
        wanted = dict.fromkeys(pairs)
        _check(wanted)
        chunked = self._chunker(pair.document for pair in wanted)
        claims = {pair.claim: self.sentences(pair.claim) for pair in wanted}
        cut: set[Pair] = set()
        encoded, parts = fitted(
            (
                Pair(chunk, sentence)
                for pair in wanted
                for sentence in claims[pair.claim]
                for chunk in chunked[pair.document]
            ),
            lambda pieces: self._measured(pieces, cut),
            self._halved,
        )
        place = {piece: number for number, piece in enumerate(encoded)}
        asked: dict[Pair, list[Asked]] = {}
        for pair in wanted:
            asked[pair] = []
            for sentence in claims[pair.claim]:
                read = [p for c in chunked[pair.document] for p in parts[Pair(c, sentence)]]
                texts, places = [piece.document for piece in read], [place[p] for p in read]
                asked[pair].append(Asked(sentence, texts, places))
        cuts = frozenset(place[piece] for piece in cut)
        return Plan(list(encoded.values()), asked, cuts, self.family)

    def _measured(self, pieces: Sequence[Pair], cut: set[Pair]) -> Iterator[Ids | None]:
        """Ids of each prompt; for one that is too long None, or its shortened ids."""
        prompts = [self._prompt(piece) for piece in pieces]
        for piece, ids in zip(pieces, self._encode(prompts), strict=True):
            if len(ids) <= self._max_length:
                yield ids
                continue
            self._check_room(piece.claim)
            if self._overlong == "cut" or len(piece.document) < 2:
                cut.add(piece)
                yield self._shortened(piece)
            else:
                yield None

    def _halved(self, piece: Pair) -> tuple[Pair, Pair]:
        first, second = halves(piece.document, self.family.joint)
        return Pair(first, piece.claim), Pair(second, piece.claim)

    def _prompt(self, piece: Pair) -> str:
        """A piece and a claim in the template; a special token in them is no token there."""
        return self.family.prompt(self._plain(piece.document), self._plain(piece.claim))

    def _check_room(self, sentence: str) -> None:
        (ids,) = self._encode([self._prompt(Pair("", sentence))])
        if self._max_length - len(ids) < LEAST_ROOM:
            raise HarnessError(no_room(f"claim {sentence[:80]!r}", len(ids), self._max_length))

    def _count(self, texts: list[str]) -> list[int]:
        """Tokens of each text, without special ones."""
        plain = list(map(self._plain, texts))
        return [len(ids) for ids in self._encode(plain, add_special_tokens=False)]

    def _encode(self, prompts: Sequence[str], **options: Any) -> Iterator[Ids]:
        for start in range(0, len(prompts), _SLICE):
            part = list(prompts[start : start + _SLICE])
            batch = self._read(part, verbose=False, return_attention_mask=False, **options)
            yield from (np.array(ids, dtype=np.int32) for ids in batch["input_ids"])

    def _shortened(self, piece: Pair) -> Ids:
        """The prompt's ids without the last tokens of the document that do not fit."""
        before, after = self.family.frame(self._plain(piece.claim))
        document = self._plain(piece.document)
        start, end = len(before), len(before) + len(document)
        options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
        batch = self._read(before + document + after, verbose=False, **options)
        ids = np.array(batch["input_ids"], dtype=np.int32)
        offsets = np.array(batch["offset_mapping"])
        inside = (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        places = np.flatnonzero(inside & (np.array(batch["special_tokens_mask"]) == 0))
        return np.delete(ids, places[self._max_length - len(ids) :])


def no_room(where: str, taken: int, limit: int) -> str:
    """The words for a claim that leaves no room for a document."""
    return (
        f"{where}: claim and question take {taken} of the {limit} tokens that the model reads, too "
        "many for a document beside"
    )


def _check(pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        if not pair.document.strip():
            raise HarnessError(f"the document of the claim {pair.claim[:80]!r} is empty")
        if not pair.claim.strip():
            raise HarnessError(f"the claim on the document {pair.document[:80]!r} is empty")


def windows(
    pairs: Iterable[Pair],
    *,
    most: int = WINDOW_PAIRS,
    characters: int = WINDOW_CHARACTERS,
) -> Iterator[list[Pair]]:
    """Distinct pairs in portions that fit in memory, those of one document together.

    Args:
        pairs: All pairs.
        most: Pairs a window.
        characters: Characters of documents and claims a window, each pair with its own; a single
            longer pair is a window of its own.
    """
    return portions(
        _by_document(pairs),
        lambda pair: len(pair.document) + len(pair.claim),
        budget=characters,
        most=most,
    )


def portions(
    items: Iterable[T], size: Callable[[T], int], *, budget: int, most: int | None = None
) -> Iterator[list[T]]:
    """Items in portions, in their order.

    Args:
        items: The items.
        size: Of an item.
        budget: Of a portion's items together; a single larger item is a portion of its own.
        most: Items a portion.
    """
    part: list[T] = []
    used = 0
    for item in items:
        own = size(item)
        if part and (len(part) == most or used + own > budget):
            yield part
            part, used = [], 0
        part.append(item)
        used += own
    if part:
        yield part


def _by_document(pairs: Iterable[Pair]) -> list[Pair]:
    """Distinct pairs; documents in the order of their first pair."""
    wanted = dict.fromkeys(pairs)
    first: dict[str, int] = {}
    for pair in wanted:
        first.setdefault(pair.document, len(first))
    return sorted(wanted, key=lambda pair: first[pair.document])


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of prompts in batches of like length, the longest first.

    Args:
        lengths: Tokens of each prompt.
        budget: Tokens a batch, padding included; a single longer prompt is a batch of its own.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if not found or lengths[found[-1][0]] * (len(found[-1]) + 1) > budget:
            found.append([])
        found[-1].append(place)
    return found
