r"""How far a student's next-token distribution is from its teacher's, a token at a time.

Shing et al. 2025, *TAID* (arXiv 2501.16937), train on such distances; here they are measured. With
p the teacher's and q the student's probabilities at one position, over their shared vocabulary:

    forward KL = Σ p (ln p − ln q)          reverse KL = Σ q (ln q − ln p)
    JSD = ½ Σ p (ln p − ln m) + ½ Σ q (ln q − ln m),   m = (p + q)/2          at most ln 2
    TVD = ½ Σ |p − q|                       acceptance = Σ min(p, q) = 1 − TVD

all in nats. The acceptance is the probability that a draft of the student passes the ratio test of
speculative decoding (Leviathan et al. 2023, arXiv 2211.17192); of a token x that was written by the
teacher, ``passing`` = min(1, q(x)/p(x)) is the probability that it was a draft that had passed.

Worked example: p = (½, ½, 0) and q = (¼, ½, ¼) give a forward KL of ½ ln 2 = 0.347, an infinite
reverse KL, TVD = ¼, acceptance ¾, and a JSD of ½ (½ ln 4/3) + ½ (¼ ln 2/3 + ¼ ln 2) = 0.108.

Everything is computed in float64. Where p is 0, p ln p is 0. Ties of the most likely tokens go to
the lower id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.models.blocks import inputs_at

FIGURES = (
    *("forward_kl", "reverse_kl", "jsd", "tvd", "top1", "top5", "teacher_entropy"),
    *("student_entropy", "teacher_head", "student_head", "confidence", "correct", "passing"),
    *("teacher_nll", "student_nll"),
)
"""What is kept of a token; the module says what it is, ``token_figures`` the rest."""

HEAD = 10
"""The most likely tokens of the teacher that are its head."""
_TOP = 5
_CELLS = {"cpu": 1 << 18}  # what caches hold: a quarter of the time of 1 << 22
_LARGE_CELLS = 1 << 22  # elsewhere


def token_figures(
    teacher: Tensor, student: Tensor, tokens: Tensor, *, cells: int | None = None
) -> dict[str, list[float]]:
    """Compare two models at n positions.

    Args:
        teacher: The teacher's logits [n, V].
        student: The student's [n, V].
        tokens: The token that follows each position [n].
        cells: Logits that are worked on at a time, at most; changes nothing but memory and time.

    Returns:
        For each of ``FIGURES`` n numbers. Besides the distances: ``top1`` (1 where both have the
        same most likely token), ``top5`` (share of the five most likely that both have),
        entropies, ``teacher_head`` and ``student_head`` (each one's probability of the teacher's
        ten most likely), ``confidence`` (the student's highest probability), ``correct`` (1
        where that token is the one that follows), and each one's −ln of the probability of the
        token that follows.
    """
    cells = cells or _CELLS.get(teacher.device.type, _LARGE_CELLS)
    size = max(1, cells // teacher.shape[-1])
    parts = [
        _figures(*(side[start : start + size] for side in (teacher, student, tokens)))
        for start in range(0, len(tokens), size)
    ]
    return {name: [x for part in parts for x in part[name].tolist()] for name in FIGURES}


def _figures(teacher: Tensor, student: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    log_p, log_q = (torch.log_softmax(side.double(), dim=-1) for side in (teacher, student))
    p, q = log_p.exp(), log_q.exp()
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    ranked_p, ranked_q = (_ranked(side) for side in (log_p, log_q))
    head = ranked_p[:, :HEAD]
    chosen = tokens[:, None]
    teacher_nll, student_nll = (-side.gather(-1, chosen).squeeze(-1) for side in (log_p, log_q))
    return {
        "forward_kl": _expected(p, log_p - log_q),
        "reverse_kl": _expected(q, log_q - log_p),
        "jsd": (_expected(p, log_p - log_m) + _expected(q, log_q - log_m)) / 2,
        "tvd": (p - q).abs().sum(-1) / 2,
        "top1": (ranked_p[:, 0] == ranked_q[:, 0]).double(),
        "top5": _shared(ranked_p[:, :_TOP], ranked_q[:, :_TOP]),
        "teacher_entropy": -_expected(p, log_p),
        "student_entropy": -_expected(q, log_q),
        "teacher_head": p.gather(-1, head).sum(-1),
        "student_head": q.gather(-1, head).sum(-1),
        "confidence": q.amax(-1),
        "correct": (ranked_q[:, 0] == tokens).double(),
        "passing": (teacher_nll - student_nll).clamp(max=0).exp(),
        "teacher_nll": teacher_nll,
        "student_nll": student_nll,
    }


def _expected(weights: Tensor, values: Tensor) -> Tensor:
    """Σ w·x [n], where a weight of 0 makes 0 of anything."""
    return torch.where(weights > 0, weights * values, 0.0).sum(-1)


def _ranked(scores: Tensor) -> Tensor:
    """Ids of the most likely tokens, best first, ties by id [n, at most 10]."""
    size = min(HEAD, scores.shape[-1])
    first = scores.argmax(-1, keepdim=True)  # the lower id of ties, which topk does not promise
    rest = scores.scatter(-1, first, -math.inf).topk(size - 1, dim=-1).indices
    return torch.cat([first, rest], dim=-1)


def _shared(one: Tensor, other: Tensor) -> Tensor:
    """The share of ids [n, k] that both have."""
    return (one[:, :, None] == other[:, None, :]).any(-1).double().mean(-1)


@torch.inference_mode()
def logits_behind(
    model: Any, texts: Sequence[Sequence[int]], starts: Sequence[int], width: int
) -> list[Tensor]:
    """A model's logits where the tokens of answers are predicted, in one pass.

    The language head is computed at those positions alone.

    Args:
        model: A causal model of transformers.
        texts: Token ids of prompt and answer, each text.
        starts: Where each answer begins, at least 1; it ends with its text.
        width: The shared vocabulary: logits of ids below it are kept.

    Returns:
        For each text the logits [tokens of the answer, width].
    """
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    given, wanted = ids.clone(), torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, (text, start) in enumerate(zip(texts, starts, strict=True)):
        ids[row, : len(text)] = torch.tensor(text)
        given[row, : len(text)] = 1
        wanted[row, start - 1 : len(text) - 1] = True
    ids, given, wanted = (part.to(model.device) for part in (ids, given, wanted))
    with inputs_at(model.get_output_embeddings(), wanted):
        logits = model(ids, attention_mask=given, use_cache=False).logits[0]
    lengths = [len(text) - start for text, start in zip(texts, starts, strict=True)]
    return list(logits[:, :width].split(lengths))
