r"""From a document and a claim to a score: prompt, pieces, batches, and the best piece's log-odds.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144:

    score(D, c) = max_i P(supported | chunk_i(D), c)

With classifier logits z and s the label "supported", the log-odds of a chunk are
m = z_s − logsumexp(z_≠s) and P = σ(m). P grows with m, so the maximum is taken over m, in which
scores near 0 or 1 do not round into ties: m = 2.0 in one chunk and −1.0 in the other give 0.88.

Deviations: the question is worded anew, so published checkpoints see another wording than in their
training. A chunk too long for the model is halved until it fits (``overlong="split"``); the paper
cuts its end off (``overlong="cut"``). The claim and the question are never cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness_factcg.chunking import chunks, halves

if TYPE_CHECKING:
    import torch

Ids = npt.NDArray[np.int32]
Overlong = Literal["split", "cut"]

QUESTION = (
    "\n\nQuestion: Is the following claim fully supported by the text above?\n"
    "Claim: {claim}\nOptions: Yes or No\nAnswer:"
)
LEAST_ROOM = 16
"""Tokens of the model's window that must be left to the document."""

_SUPPORTED = frozenset(
    {"supported", "support", "supports", "entailment", "entailed", "consistent", "yes", "true", "1"}
)
_SLICE = 1024


def prompt(document: str, claim: str) -> str:
    """The one template of generative models, classifiers and training."""
    return document + QUESTION.replace("{claim}", claim)


def supported_label(labels: Mapping[int, str]) -> int:
    """Which of a classifier's labels means "supported".

    Args:
        labels: Its ``id2label``.

    Raises:
        HarnessError: There are more than two labels, and no name that tells.
    """
    known = [index for index, name in labels.items() if str(name).strip().lower() in _SUPPORTED]
    if len(known) == 1:
        return known[0]
    if len(labels) > 2:
        raise HarnessError(
            f"cannot tell which label means supported among {dict(labels)}: give its number, "
            f"--model_args supported=N"
        )
    return len(labels) - 1


def log_odds(logits: torch.Tensor, supported: int) -> torch.Tensor:
    """Log-odds of "supported" in float32.

    Args:
        logits: Classifier outputs [batch, labels]; with one label, the log-odds themselves.
        supported: Index of the label "supported".

    Returns:
        Log-odds [batch], in nats.
    """
    values = logits.float()
    if values.shape[1] == 1:
        return values[:, 0]
    others = [label for label in range(values.shape[1]) if label != supported]
    return values[:, supported] - values[:, others].logsumexp(1)


def log_sigmoid(x: float) -> float:
    """The logarithm of σ(x) = 1 / (1 + e^−x), exact in both tails."""
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


class Pair(NamedTuple):
    """A document, or a piece of one, and a claim about it."""

    document: str
    claim: str

    @property
    def prompt(self) -> str:
        """The pair in the template."""
        return prompt(self.document, self.claim)


@dataclass(frozen=True)
class Verdict:
    """The score of a (document, claim) pair.

    ``margin`` is the log-odds of the deciding chunk (nats), ``truncated`` tells whether any chunk
    was cut.
    """

    margin: float
    chunks: int
    deciding_chunk: int
    truncated: bool

    @classmethod
    def over(cls, margins: Sequence[float], truncated: bool) -> Verdict:
        """The verdict of the best chunk; of equal ones the first."""
        best = max(range(len(margins)), key=margins.__getitem__)
        return cls(margins[best], len(margins), best, truncated)

    def trace(self) -> dict[str, Any]:
        """What is saved beside the answer."""
        return {
            "score": math.exp(log_sigmoid(self.margin)),
            "chunks": self.chunks,
            "deciding_chunk": self.deciding_chunk,
            "truncated": self.truncated,
        }


@dataclass(frozen=True)
class Plan:
    """What a classifier has to read for a set of pairs, each piece once.

    ``ids`` are the token ids of each distinct (piece, claim) prompt, ``pieces`` the places in it of
    a pair's pieces in the order of the document, ``cut`` the places whose document was cut.
    """

    ids: list[Ids]
    pieces: dict[Pair, list[int]]
    cut: frozenset[int]


class Planner:
    """Chunks documents and encodes prompts for one classifier.

    Args:
        tokenizer: Its (fast) tokenizer.
        max_length: Tokens a prompt may have, special ones included.
        chunk_size: Word tokens a chunk.
        overlong: What to do with a chunk that is too long for the model.
    """

    def __init__(
        self, tokenizer: Any, *, max_length: int, chunk_size: int, overlong: Overlong = "split"
    ) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._chunk_size = chunk_size
        self._overlong = overlong

    def room(self, claims: Sequence[str]) -> list[int]:
        """Tokens left to the document beside each claim and the question."""
        encoded = self._encode([prompt("", claim) for claim in claims])
        return [self._max_length - len(ids) for ids in encoded]

    def plan(self, pairs: Iterable[Pair]) -> Plan:
        """Chunk each document once, and encode each distinct (piece, claim) once.

        Every claim must leave ``LEAST_ROOM`` tokens to the document, which needs a word at least.
        """
        chunked: dict[str, list[str]] = {}
        roots: dict[Pair, list[Pair]] = {}
        for pair in pairs:
            if pair.document not in chunked:
                chunked[pair.document] = chunks(pair.document, self._chunk_size)
            roots[pair] = [Pair(chunk, pair.claim) for chunk in chunked[pair.document]]
        encoded: dict[Pair, Ids] = {}
        parts: dict[Pair, list[Pair]] = {}
        cut: set[Pair] = set()
        pending = list(dict.fromkeys(piece for found in roots.values() for piece in found))
        while pending:
            for piece, ids in zip(pending, self._encode([p.prompt for p in pending]), strict=True):
                if len(ids) <= self._max_length:
                    encoded[piece] = ids
                elif self._overlong == "cut":
                    encoded[piece] = self._shortened(piece)
                    cut.add(piece)
                else:
                    parts[piece] = [Pair(half, piece.claim) for half in halves(piece.document)]
            halved = dict.fromkeys(half for p in pending if p in parts for half in parts[p])
            pending = [half for half in halved if half not in encoded and half not in parts]
        place = {piece: number for number, piece in enumerate(encoded)}
        pieces = {pair: [place[p] for p in _leaves(found, parts)] for pair, found in roots.items()}
        return Plan(list(encoded.values()), pieces, frozenset(place[piece] for piece in cut))

    def _encode(self, prompts: Sequence[str]) -> list[Ids]:
        found: list[Ids] = []
        for start in range(0, len(prompts), _SLICE):
            part = list(prompts[start : start + _SLICE])
            batch = self._tokenizer(part, verbose=False, return_attention_mask=False)
            found += [np.array(ids, dtype=np.int32) for ids in batch["input_ids"]]
        return found

    def _shortened(self, piece: Pair) -> Ids:
        """The prompt's ids without the last tokens of the document that do not fit."""
        options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
        batch = self._tokenizer(piece.prompt, verbose=False, **options)
        ids = np.array(batch["input_ids"], dtype=np.int32)
        inside = np.array(batch["offset_mapping"])[:, 1] <= len(piece.document)
        places = np.flatnonzero(inside & (np.array(batch["special_tokens_mask"]) == 0))
        return np.delete(ids, places[self._max_length - len(ids) :])


def _leaves(pieces: Iterable[Pair], parts: Mapping[Pair, list[Pair]]) -> list[Pair]:
    """Pieces with every halved one replaced by its halves, in order."""
    found: list[Pair] = []
    for piece in pieces:
        found += _leaves(parts[piece], parts) if piece in parts else [piece]
    return found


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
