r"""From a document and a claim to a score: the prompt, log-odds, and the answers put together.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144:

    score(D, c) = max_i P(supported | chunk_i(D), c)

With classifier logits z and s the label "supported", the log-odds of a chunk are
m = z_s − logsumexp(z_≠s) and P = σ(m); a language model's are m = log P(Yes) − log P(No). P grows
with m, so the maximum is taken over m, in which scores near 0 or 1 do not round into ties: m = 2.0
in one chunk and −1.0 in the other give 0.88.

Where a claim is judged by its sentences (``families``), its score is the minimum or the mean of
theirs. The mean is one of probabilities, returned as log-odds: 0.9 and 0.5 give 0.7, which is
m = ln(7/3).

Deviations: the question is worded anew, so published checkpoints see another wording than in their
training. A language model's P(Yes) is taken among Yes and No alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness import HarnessError

if TYPE_CHECKING:
    import torch

Aggregation = Literal["max", "min", "mean"]

QUESTION = (
    "\n\nQuestion: Is the following claim fully supported by the text above?\n"
    "Claim: {claim}\nOptions: Yes or No\nAnswer:"
)

_SUPPORTED = frozenset(
    {"supported", "support", "supports", "entailment", "entailed", "aligned", "consistent"}
    | {"yes", "true", "1"}
)


def prompt(document: str, claim: str) -> str:
    """FactCG's template, the one of generative models, classifiers and training."""
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


def aggregate(margins: Sequence[float], aggregation: Aggregation) -> float:
    """The log-odds of a claim from those of its sentences (nats).

    ``min`` is that of the worst sentence, ``mean`` the log-odds of the mean probability, and
    ``max`` that of the best, which is the claim itself where it is not split.
    """
    if aggregation == "max":
        return max(margins)
    if aggregation == "min":
        return min(margins)
    return _log_sum([log_sigmoid(m) for m in margins]) - _log_sum(
        [log_sigmoid(-m) for m in margins]
    )


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs))


class Pair(NamedTuple):
    """A document, or a piece of one, and a claim about it."""

    document: str
    claim: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """The verdict on one sentence of a claim.

    ``margin`` is the log-odds of its best chunk (nats), ``deciding_chunk`` that chunk's number
    among the ``chunks`` read for this sentence, ``deciding_text`` its text.
    """

    text: str
    margin: float
    chunks: int
    deciding_chunk: int
    deciding_text: str

    @classmethod
    def over(cls, text: str, pieces: Sequence[str], margins: Sequence[float]) -> Sentence:
        """The verdict of the best piece of the document; of equal ones the first."""
        best = max(range(len(margins)), key=margins.__getitem__)
        return cls(text, margins[best], len(pieces), best, pieces[best])

    def trace(self) -> dict[str, Any]:
        """What is saved of it beside the answer."""
        found = asdict(self)
        return {"text": found.pop("text"), "score": score_of(found.pop("margin")), **found}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The score of a (document, claim) pair.

    ``margin`` is the log-odds (nats) that the document supports the claim. ``deciding_chunk`` is
    the number of the best chunk among the ``chunks`` read, from 0, and ``deciding_text`` its text;
    where the claim was judged by sentences, the best chunk of the worst sentence. ``sentences``
    then holds them, else nothing. ``truncated`` tells whether any chunk was cut. ``seconds`` is
    the pair's share of the time that chunking, tokenising and the model took.
    """

    margin: float
    chunks: int
    deciding_chunk: int
    truncated: bool
    deciding_text: str = ""
    sentences: tuple[Sentence, ...] = ()
    seconds: float = 0.0

    @classmethod
    def over(
        cls,
        sentences: Sequence[Sentence],
        aggregation: Aggregation,
        *,
        truncated: bool = False,
        seconds: float = 0.0,
    ) -> Verdict:
        """The verdict on a claim from those on its sentences (one, if the claim is not split)."""
        worst = min(sentences, key=lambda sentence: sentence.margin)
        return cls(
            aggregate([sentence.margin for sentence in sentences], aggregation),
            worst.chunks,
            worst.deciding_chunk,
            truncated,
            worst.deciding_text,
            () if aggregation == "max" else tuple(sentences),
            seconds,
        )

    @property
    def score(self) -> float:
        """P(supported)."""
        return score_of(self.margin)

    def trace(self) -> dict[str, Any]:
        """What is saved beside the answer."""
        found = {
            "score": self.score,
            "chunks": self.chunks,
            "deciding_chunk": self.deciding_chunk,
            "deciding_text": self.deciding_text,
            "truncated": self.truncated,
            "seconds": self.seconds,
        }
        if self.sentences:
            found["sentences"] = [sentence.trace() for sentence in self.sentences]
        return found


def score_of(margin: float) -> float:
    """P(supported) = σ(margin)."""
    return math.exp(log_sigmoid(margin))
