r"""DKD: the label's share and what is among the other tokens, apart.

Zhao et al. 2022, *Decoupled Knowledge Distillation*, arXiv 2203.08679, eq. 7.

    b = (p(y), 1 − p(y)),   p̂ = p without y, normalised;   the same of q;   at temperature T
    loss = (α · KL(b^p ‖ b^q) + β · KL(p̂ ‖ q̂)) · T²

With α = 1 and β = 1 − p(y) it would be KL(p ‖ q). For p = (0.6, 0.3, 0.1), q = (0.2, 0.5, 0.3) and
y = 0: 0.3819 + 0.5 · KL((¾, ¼) ‖ (⅝, ⅜)) = 0.3819 + 0.5 · 0.0354 = 0.3996.

Sums over the other tokens are made in logarithms, so that a label of probability 1 gives no NaN.
``compat="reference"``: the loss is divided by all positions, masked ones included, as in the
reference code (``counts_masked``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.ranges import require
from harness_taid.objectives.rows import FLOOR, at, counted, divergence, floored


class DKD(Objective):
    """(α · KL(b^p ‖ b^q) + β · KL(p̂ ‖ q̂)) · T², the label's share and the other tokens apart."""

    name = "dkd"

    def __init__(
        self,
        context: Context,
        *,
        alpha: float = 1.0,
        beta: float = 0.5,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(context)
        require(self.name, "alpha", alpha, 0, math.inf, without_high=True)
        require(self.name, "beta", beta, 0, math.inf, without_high=True)
        require(
            self.name, "temperature", temperature, 0, math.inf, without_low=True, without_high=True
        )
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.counts_masked = context.reference

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        z, missing = floored(student)
        w, _ = floored(teacher.detach())
        q_label, q_rest, log_q = _decoupled(z / self.temperature, labels)
        p_label, p_rest, log_p = _decoupled(w / self.temperature, labels)
        lacking = None if missing is None else at(missing, labels)
        target = p_label.exp() * counted(p_label - q_label, lacking)
        target = target + p_rest.exp() * (p_rest - q_rest)
        others = divergence(log_p.exp(), counted(log_p - log_q, missing))
        scale = self.temperature**2
        losses = (self.alpha * target + self.beta * others) * scale
        parts = {"target": target.detach().sum(), "others": others.detach().sum()}
        return Terms(losses, {name: part * scale for name, part in parts.items()})


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of p(y) [n], of 1 − p(y) [n], and of p̂ [n, V], which is 0 at y."""
    label = at(logits, labels)
    others = logits.scatter(-1, labels.unsqueeze(-1), FLOOR)
    rest = others.logsumexp(-1)
    total = torch.logaddexp(label, rest)
    return label - total, rest - total, others - rest.unsqueeze(-1)
