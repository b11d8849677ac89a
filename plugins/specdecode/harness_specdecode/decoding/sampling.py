r"""Processed scores: what a model's logits become before a token is drawn.

The order and the meaning are those of transformers' ``generate``, for logits z of one position:

    repetition penalty θ   z_v / θ if z_v > 0, z_v · θ if z_v < 0,  for v in the prompt or answer
    suppressed ids         −∞
    temperature τ          z / τ;  τ = 0 is greedy: the largest score, the lowest id among equals
    top-k                  −∞ below the k-th largest; those equal to it all stay
    top-p                  −∞ for the least likely whose probabilities add up to at most 1 − p
    min-p                  −∞ below min_p times the largest probability

Scores are log-probabilities up to one constant a position: argmax(score + G) needs no more.

    >>> Sampling(temperature=0.5, top_k=2).scores(torch.tensor([1.0, 3.0, 2.0]))
    tensor([-inf, 6., 4.])

Deliberate deviation: ids that pad a prompt are no part of it and are never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness import HarnessError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How scores are made of logits; the same for all rows that are decoded together.

    Args:
        temperature: 0 is greedy.
        top_k: 0 keeps all.
        top_p: 1 keeps all.
        min_p: 0 keeps all.
        repetition_penalty: 1 changes nothing.
        suppressed: Ids that are never drawn.

    Raises:
        HarnessError: A number is out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    suppressed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0 <= self.temperature < float("inf"), "0 or more; 0 is greedy"),
            "top_k": (self.top_k >= 0, "0 (all) or more"),
            "top_p": (0 <= self.top_p <= 1, "0 to 1"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "a number above 0"),
        }
        for name, (good, wanted) in ranges.items():
            if not good:
                raise HarnessError(f"{name}={getattr(self, name)}: give {wanted}")

    @property
    def greedy(self) -> bool:
        """Whether the best token is taken, without any noise."""
        return self.temperature == 0

    @property
    def penalises(self) -> bool:
        """Whether scores depend on which tokens were there before."""
        return self.repetition_penalty != 1

    def scores(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """Processed scores, float32, or float64 where the logits are.

        Args:
            logits: [..., V].
            seen: Which ids occur in the prompt or the answer so far, bool of the same shape; needed
                only where ``penalises``.

        Returns:
            [..., V], −∞ where a token is ruled out.
        """
        scores = logits if logits.dtype == torch.float64 else logits.float()
        if self.penalises:
            assert seen is not None, "a repetition penalty needs to know what was there"
            penalty = self.repetition_penalty
            scores = scores.where(~seen, (scores / penalty).where(scores > 0, scores * penalty))
        if self.suppressed:
            scores = scores.index_fill(-1, self._suppressed_on(scores), -torch.inf)
        if self.greedy:
            return scores
        scores = scores / self.temperature
        if 0 < self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k).values[..., -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if self.top_p < 1:
            scores = _nucleus(scores, self.top_p)
        if self.min_p > 0:
            probabilities = scores.softmax(-1)
            least = self.min_p * probabilities.amax(-1, keepdim=True)
            scores = scores.masked_fill(probabilities < least, -torch.inf)
        return scores

    def _suppressed_on(self, scores: Tensor) -> Tensor:
        ids = [token for token in self.suppressed if token < scores.shape[-1]]
        return torch.tensor(ids, dtype=torch.int64, device=scores.device)


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Top-p: the likeliest token always stays."""
    ascending, ids = scores.sort(-1)
    removed = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
    removed[..., -1] = False
    return scores.masked_fill(removed.scatter(-1, ids, removed), -torch.inf)


def along(seen: Tensor, ids: Tensor) -> Tensor:
    """Which ids are there before each of several positions.

    Args:
        seen: Of the prompt and the answer, bool [n, V].
        ids: The tokens after them [n, W]; position j of the result has seen ids 0 … j.

    Returns:
        bool [n, W, V].
    """
    found = seen.unsqueeze(1).repeat(1, ids.shape[1], 1)
    for j in range(ids.shape[1]):
        found[:, j:].scatter_(-1, ids[:, j, None, None].expand(-1, found.shape[1] - j, 1), True)
    return found
