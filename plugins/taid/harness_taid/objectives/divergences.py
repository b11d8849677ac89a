r"""The objectives that compare p, the teacher's distribution, with q, the student's.

| name | a token's loss | source |
|---|---|---|
| sft | −log q(y) | |
| fkl | −Σ p log q | Hinton et al. 2015, arXiv 1503.02531 |
| rkl | Σ q (log q − log p) | Gu et al. 2024, arXiv 2306.08543 |
| tvd | ½ Σ \|p − q\| | Wen et al. 2023, arXiv 2307.15190 |
| js | β KL(p ‖ M) + (1 − β) KL(q ‖ M), M = βp + (1 − β)q | GKD: Agarwal et al. 2024, 2306.13649 |
| sfkl | −Σ p log(λp + (1 − λ)q) | DistiLLM: Ko et al. 2024, arXiv 2402.03898 |
| srkl | KL(q ‖ (1 − λ)p + λq) | the same |

For p = (0.8, 0.2) and q = (0.5, 0.5):

    fkl 0.6931   rkl 0.2231   tvd 0.3000   js (β 0.1) 0.0175   sfkl (λ 0.1) 0.6589
    srkl (λ 0.1) 0.1724

Probabilities are softmaxes in float32 at temperature 1. fkl and sfkl are cross-entropies, not
divergences: with p fixed they differ from them by a constant, and fkl is logged as KL(p ‖ q) too.

Deviation: mixtures are kept above 1e-37 under the logarithm. The reference code takes
log 0 · 0 = NaN where p and q both underflow; ``compat="reference"`` does so in js.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.ranges import require
from harness_taid.objectives.rows import at, counted, divergence, floored, log_mixture


class SFT(Objective):
    """−log q(y): cross-entropy with the labels, without a teacher."""

    name = "sft"
    needs_teacher = False

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        return Terms(label_cross_entropy(student, labels), {})


class ForwardKL(Objective):
    """−Σ p log q."""

    name = "fkl"

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        log_p = floored(teacher.detach())[0].log_softmax(-1)
        return cross_entropy(student, log_p)


class ReverseKL(Objective):
    """Σ q (log q − log p)."""

    name = "rkl"

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        return Terms(reverse_kl(student, teacher), {})


class TotalVariation(Objective):
    """½ Σ |p − q|."""

    name = "tvd"

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        p = floored(teacher.detach())[0].softmax(-1)
        q = floored(student)[0].softmax(-1)
        return Terms((p - q).abs().sum(-1) / 2, {})


class JensenShannon(Objective):
    """β KL(p ‖ M) + (1 − β) KL(q ‖ M), M = βp + (1 − β)q."""

    name = "js"

    def __init__(self, context: Context, *, beta: float = 0.1) -> None:
        super().__init__(context)
        require(self.name, "beta", beta, 0, 1, without_low=True, without_high=True)
        self.beta = beta

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        if self.context.reference:
            return Terms(self._unguarded(student, teacher), {})
        log_p = floored(teacher.detach())[0].log_softmax(-1)
        log_q = floored(student)[0].log_softmax(-1)
        p, q = log_p.exp(), log_q.exp()
        log_m = log_mixture(p, q, self.beta)
        of_teacher, of_student = divergence(p, log_p - log_m), divergence(q, log_q - log_m)
        return Terms(self.beta * of_teacher + (1 - self.beta) * of_student, {})

    def _unguarded(self, student: Tensor, teacher: Tensor) -> Tensor:
        """With logarithms of softmaxes: NaN where a probability underflows."""
        p, q = teacher.detach().float().softmax(-1), student.float().softmax(-1)
        log_m = torch.log(self.beta * p + (1 - self.beta) * q)
        of_teacher, of_student = divergence(p, p.log() - log_m), divergence(q, q.log() - log_m)
        return self.beta * of_teacher + (1 - self.beta) * of_student


class SkewForwardKL(Objective):
    """−Σ p log(λp + (1 − λ)q), with λ = lam."""

    name = "sfkl"

    def __init__(self, context: Context, *, lam: float = 0.1) -> None:
        super().__init__(context)
        require(self.name, "lam", lam, 0, 1, without_high=True)
        self.lam = lam

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        p = floored(teacher.detach())[0].softmax(-1)
        q = floored(student)[0].softmax(-1)
        return Terms(-divergence(p, log_mixture(p, q, self.lam)), {})


class SkewReverseKL(Objective):
    """KL(q ‖ (1 − λ)p + λq), with λ = lam."""

    name = "srkl"

    def __init__(self, context: Context, *, lam: float = 0.1) -> None:
        super().__init__(context)
        require(self.name, "lam", lam, 0, 1, without_high=True)
        self.lam = lam

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        p = floored(teacher.detach())[0].softmax(-1)
        log_q = floored(student)[0].log_softmax(-1)
        q = log_q.exp()
        return Terms(divergence(q, log_q - log_mixture(q, p, self.lam)), {})


def cross_entropy(student: Tensor, log_p: Tensor) -> Terms:
    """−Σ p log q of student logits and fixed log p, [n, V] each; logs KL(p ‖ q) beside it."""
    logits, missing = floored(student)
    log_q = counted(logits.log_softmax(-1), missing)
    p = log_p.exp()
    losses = -divergence(p, log_q)
    with torch.no_grad():
        divergences = losses + divergence(p, counted(log_p, missing))
    return Terms(losses, {"kl": divergences.sum()})


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(q ‖ p) of logits [n, V] each: [n]. Ids that the teacher lacks count 0."""
    logits, missing = floored(teacher.detach())
    log_q = floored(student)[0].log_softmax(-1)
    return divergence(log_q.exp(), counted(log_q - logits.log_softmax(-1), missing))


def label_cross_entropy(student: Tensor, labels: Tensor) -> Tensor:
    """−log q(y) of logits [n, V] and labels [n]: [n]."""
    return -at(floored(student)[0].log_softmax(-1), labels)
