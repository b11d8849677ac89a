r"""Adaptive KL: forward KL where the teacher's head is missed, reverse KL where its tail is.

Wu et al. 2024, *Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large Language
Models*, arXiv 2404.02657, §4.

    head = the smallest set of the teacher's likeliest tokens with Σ p ≥ μ
    g_h = Σ_head |p − q|,   g_t = Σ_tail |p − q|,   w = g / (g_h + g_t)
    loss = w_h · (−Σ p log q) + w_t · KL(q ‖ p)

For p = (0.6, 0.3, 0.1), q = (0.2, 0.5, 0.3) and μ = 0.5: the head is the first token, g_h = 0.4,
g_t = 0.4, and the loss is ½ · 1.2940 + ½ · 0.3653 = 0.8296.

The weights are constants to the gradient, and ½ each where p = q. Tokens as likely as the head's
last belong to the head. Only a token's 128 likeliest are sorted where they hold μ.

``compat="reference"``: the reference code finds the head among sorted probabilities and applies the
mask to unsorted ones, so that its head is the last ids of the vocabulary; and its weights have
gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.divergences import cross_entropy, reverse_kl
from harness_taid.objectives.ranges import require
from harness_taid.objectives.rows import floored

_SORTED = 128


class AdaptiveKL(Objective):
    """w_h · (−Σ p log q) + w_t · KL(q ‖ p), by the gaps in the teacher's head and tail."""

    name = "adaptive_kl"

    def __init__(self, context: Context, *, mu: float = 0.5) -> None:
        super().__init__(context)
        require(self.name, "mu", mu, 0, 1, without_low=True)
        self.mu = mu

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        log_p = floored(teacher.detach())[0].log_softmax(-1)
        share = self._head_share(student, log_p.exp())
        forward = cross_entropy(student, log_p)
        losses = share * forward.losses + (1 - share) * reverse_kl(student, teacher)
        return Terms(losses, {"head_weight": share.detach().sum()})

    def _head_share(self, student: Tensor, p: Tensor) -> Tensor:
        """w_h: [n]."""
        with torch.set_grad_enabled(self.context.reference and torch.is_grad_enabled()):
            gaps = (p - floored(student)[0].log_softmax(-1).exp()).abs()
            head = misplaced_head(p, self.mu) if self.context.reference else head_of(p, self.mu)
            share: Tensor = (gaps * head).sum(-1) / gaps.sum(-1)
            return share if self.context.reference else share.nan_to_num(0.5)


def head_of(p: Tensor, mu: float) -> Tensor:
    """Which tokens are the head of probabilities [n, V]: bool [n, V]."""
    likeliest = p.topk(min(_SORTED, p.shape[-1])).values
    last = _last_of_head(likeliest, mu)
    short = likeliest.sum(-1) < mu
    if bool(short.any()):
        last[short] = _last_of_head(p[short].sort(descending=True).values, mu)
    return p >= last


def _last_of_head(falling: Tensor, mu: float) -> Tensor:
    """The least probability of the head, of falling probabilities [n, k]: [n, 1]."""
    place = (falling.cumsum(-1) < mu).sum(-1, keepdim=True)
    return falling.gather(-1, place.clamp(max=falling.shape[-1] - 1))


def misplaced_head(p: Tensor, mu: float) -> Tensor:
    """The reference code's head: where the rising probabilities' sum reaches μ, by place."""
    return p.sort().values.cumsum(-1) >= mu
