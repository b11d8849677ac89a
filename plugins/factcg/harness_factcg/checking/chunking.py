r"""A document in chunks: sentences packed greedily up to a number of words or tokens.

Lei et al. 2025, arXiv 2501.17144, score a claim against chunks of at most 550 word tokens and keep
the best chunk. A chunk is a run of whole sentences, joined by line breaks. Other families of fact
checkers count the tokens of the model, and join by spaces.

    >>> chunks("Anna lives in Rome. Ben plays chess. Clara owns a cat.", size=10)
    ['Anna lives in Rome.\nBen plays chess.', 'Clara owns a cat.']

Deviations: sentences come from rules, not from a trained splitter (no model to download), and word
tokens from one regular expression. A line break always ends a sentence, which the join undoes. A
sentence longer than a chunk is split at spaces, or inside a word that alone is longer; nothing is
dropped, and no chunk is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")

CHUNK_SIZE = 550

_TOKEN = re.compile(r"\w+(?:['’.,\-]\w+)*|[^\w\s]")
_LINE = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]+")
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*")
_OPENING = "\"'“‘«([{-–—*•"
_ABBREVIATIONS = frozenset(
    word
    for line in (
        "adm al apr approx art aug ave capt cf ch co col corp dec dept dr e.g ed eds eg est",
        "etc feb fig figs gen gov hon i.e ie inc jan jr jul jun lt ltd maj mar messrs mr mrs",
        "ms mt no nos nov oct op p pp pres prof pt rep rev sec sen sep sept sgt sr st u.k u.n",
        "u.s univ v viz vol vols vs",
    )
    for word in line.split()
)


def count_words(text: str) -> int:
    """Word tokens in a text: words (with inner ``'``, ``.``, ``,``, ``-``) and single signs."""
    return sum(1 for _ in _TOKEN.finditer(text))


def split_sentences(text: str) -> list[str]:
    """Sentences in order, without surrounding white space; every other character is kept.

    A sentence ends at a line break, or at ``.``, ``!``, ``?`` before white space and something that
    can begin a sentence, unless the full stop belongs to an abbreviation or an initial.
    """
    found = []
    for line in _LINE.split(text):
        start = 0
        for end in _END.finditer(line):
            if _ends_sentence(line, start, end):
                found.append(line[start : end.end()].strip())
                start = end.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends_sentence(line: str, start: int, end: re.Match[str]) -> bool:
    if end.group()[0] in "。！？":
        return True
    following = next((sign for sign in _from(line, end.end()) if sign not in _OPENING), "")
    if not following or following.islower():
        return not following
    if not end.group().startswith(".") or end.group().startswith(".."):
        return True
    before = line[max(start, end.start() - 20) : end.start()].split()
    word = before[-1].lstrip(_OPENING).lower() if before else ""
    initial = len(word) == 1 and word.isalpha() and word != "i"
    return not initial and word not in _ABBREVIATIONS


def _from(line: str, start: int) -> Iterator[str]:
    """The characters from a place on, without a copy of the line for each of its sentences."""
    return (line[place] for place in range(start, len(line)))


def count_spaced(text: str) -> int:
    """Words in a text as white space separates them, with the signs that they touch."""
    return len(text.split())


def chunks(
    document: str,
    size: int = CHUNK_SIZE,
    joint: str = "\n",
    count: Callable[[str], int] = count_words,
) -> list[str]:
    """Pack a document's sentences into chunks of at most ``size`` words.

    Args:
        document: The text; an empty one has no chunks.
        size: Words a chunk, at least 1.
        joint: What stands between sentences.
        count: What a word is: ``count_words`` or ``count_spaced``.

    Raises:
        ValueError: ``size`` is less than 1.
    """
    if size < 1:
        raise ValueError(f"a chunk of {size} words holds nothing")
    pieces = (
        piece for sentence in split_sentences(document) for piece in _pieces(sentence, size, count)
    )
    return pack(pieces, size, joint)


def pack(pieces: Iterable[tuple[str, int]], size: int, joint: str) -> list[str]:
    """Texts joined greedily, in order, up to a size.

    Args:
        pieces: Texts, each with its length.
        size: The most that the lengths in one chunk may add up to; a longer text stands alone.
        joint: What stands between texts.
    """
    packed: list[str] = []
    current: list[str] = []
    used = 0
    for piece, length in pieces:
        if current and used + length > size:
            packed.append(joint.join(current))
            current, used = [], 0
        current.append(piece)
        used += length
    return [*packed, joint.join(current)] if current else packed


def _pieces(sentence: str, size: int, count: Callable[[str], int]) -> Iterator[tuple[str, int]]:
    """The sentence, or parts of it of at most ``size`` words, each with its length."""
    length = count(sentence)
    if length <= size:
        yield sentence, length
        return
    start, used = 0, 0
    for word in re.finditer(r"\S+", sentence):
        length = count(word.group())
        if used and used + length > size:
            yield sentence[start : word.start()].rstrip(), used
            start, used = word.start(), 0
        if length > size:  # one word of many word tokens
            tokens = list(_TOKEN.finditer(sentence, word.start(), word.end()))
            for first in range(size, length, size):
                yield sentence[start : tokens[first].start()], size
                start = tokens[first].start()
            used = length - (length - 1) // size * size
        else:
            used += length
    yield sentence[start:], used


def halves(text: str, joint: str = "\n") -> tuple[str, str]:
    """Two non-empty parts of a text, cut near the middle: between sentences, words or characters.

    Args:
        text: The text.
        joint: What stands between the sentences of a part.

    Raises:
        ValueError: The text has fewer than two characters.
    """
    for parts, glue in ((split_sentences(text), joint), (text.split(), " ")):
        if len(parts) > 1:
            sizes = [len(part) for part in parts]
            *ends, total = accumulate(sizes)
            cut = 1 + min(range(len(ends)), key=lambda k: abs(2 * ends[k] - total))
            return glue.join(parts[:cut]), glue.join(parts[cut:])
    word = text.strip()
    if len(word) < 2:
        raise ValueError(f"{text!r} cannot be halved")
    return word[: len(word) // 2], word[len(word) // 2 :]


def fitted(
    items: Iterable[T],
    measure: Callable[[list[T]], Iterable[R | None]],
    split: Callable[[T], tuple[T, T]],
) -> tuple[dict[T, R], dict[T, list[T]]]:
    """Measure items; those that do not fit are split in two until all do.

    Args:
        items: Hashable items; equal ones are measured once.
        measure: Measures of many items at once, None for one that does not fit.
        split: The two parts of an item that does not fit.

    Returns:
        The measure of every item and part that fits, and the parts of each item in order (the item
        itself where it fits).
    """
    roots = list(dict.fromkeys(items))
    found: dict[T, R] = {}
    parts: dict[T, tuple[T, T]] = {}
    pending = roots
    while pending:
        for item, value in zip(pending, measure(pending), strict=True):
            if value is None:
                parts[item] = split(item)
            else:
                found[item] = value
        halved = dict.fromkeys(part for item in pending for part in parts.get(item, ()))
        pending = [part for part in halved if part not in found and part not in parts]

    def leaves(item: T) -> list[T]:
        return [leaf for part in parts[item] for leaf in leaves(part)] if item in parts else [item]

    return found, {item: leaves(item) for item in roots}


class Chunker:
    """Cuts documents into chunks of a family's size.

    Args:
        size: Of a chunk; None for documents in one piece.
        joint: What stands between the sentences of a chunk.
        words: What a word is, where ``size`` counts words.
        count: Lengths of many texts at once, where it counts something else.
    """

    def __init__(
        self,
        size: int | None,
        *,
        joint: str = "\n",
        words: Callable[[str], int] = count_words,
        count: Callable[[list[str]], Sequence[int]] | None = None,
    ) -> None:
        self._size = size
        self._joint = joint
        self._words = words
        self._count = count

    def __call__(self, documents: Iterable[str]) -> dict[str, list[str]]:
        """The chunks of each distinct document, in order."""
        distinct = list(dict.fromkeys(documents))
        if self._size is None:
            return {document: [document.strip()] * bool(document.strip()) for document in distinct}
        if self._count is None:
            return {
                document: chunks(document, self._size, self._joint, self._words)
                for document in distinct
            }
        return self._counted(distinct, self._size)

    def _counted(self, documents: Sequence[str], size: int) -> dict[str, list[str]]:
        """Chunks in another unit; a sentence that is too long is halved until its parts fit."""
        sentences = {document: split_sentences(document) for document in documents}
        lengths, parts = fitted(
            (sentence for found in sentences.values() for sentence in found),
            lambda texts: self._measured(texts, size),
            lambda text: halves(text, self._joint),
        )
        return {
            document: pack(
                ((part, lengths[part]) for sentence in found for part in parts[sentence]),
                size,
                self._joint,
            )
            for document, found in sentences.items()
        }

    def _measured(self, texts: list[str], size: int) -> Iterable[int | None]:
        """Lengths of texts, at a chunk's beginning or within it; a single character always fits."""
        assert self._count is not None
        lengths = self._count([*texts, *(self._joint + text for text in texts)])
        for text, alone, joined in zip(texts, lengths, lengths[len(texts) :], strict=False):
            longest = max(alone, joined)
            yield longest if longest <= size or len(text) < 2 else None
