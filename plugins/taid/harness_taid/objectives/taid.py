r"""TAID: towards a teacher that is interpolated with the student, and moves away from it in time.

Shing, Misaki, Bao, Yokoi and Akiba 2025, *TAID: Temporally Adaptive Interpolated Distillation for
Efficient Knowledge Transfer in Language Models*, arXiv 2501.16937, eq. 4 and algorithm 1.

    u = (1 − t) · z̄ + t · w          z̄ the student's logits as constants, w the teacher's
    p_t = softmax(u),  q = softmax(z)
    loss = −Σ p_t log q,   ∂loss/∂z = q − p_t

With z = (0, 0), w = (2, 0) and t = ½: p_t = (0.7311, 0.2689), loss 0.6931, gradient (−0.2311,
0.2311). At t = 1 it is fkl; at t = 0 the gradient is 0. The loss is a cross-entropy: its floor is
the entropy of p_t, which moves with t, so KL(p_t ‖ q) is logged beside it.

The loss that moves t is the one of the whole batch, once an optimiser step. The reference code
moves t by each process's own micro-batch and in validation too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.divergences import cross_entropy
from harness_taid.objectives.rows import FLOOR, floored
from harness_taid.objectives.schedule import Schedule


class TAID(Objective):
    """−Σ p_t log q, p_t = softmax((1 − t) · z + t · w), t from t_start to t_end."""

    name = "taid"

    def __init__(
        self,
        context: Context,
        *,
        t_start: float = 0.4,
        t_end: float = 1.0,
        alpha: float = 5e-4,
        beta: float = 0.99,
        adaptive: bool = True,
    ) -> None:
        super().__init__(context)
        self.schedule = Schedule(
            total_steps=context.total_steps,
            t_start=t_start,
            t_end=t_end,
            alpha=alpha,
            beta=beta,
            adaptive=adaptive,
        )

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        log_p = interpolated(student, teacher, self.schedule.t).log_softmax(-1)
        terms = cross_entropy(student, log_p)
        return Terms(terms.losses, {"cross_entropy": terms.losses.detach().sum(), **terms.parts})

    def after_step(
        self, loss: float, step: int, parts: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        return self.schedule.update(loss, step)

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.schedule.load_state_dict(state)


@torch.no_grad()
def interpolated(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """Logits u [n, V] of logits [n, V] each; for 0 < t < 1 they lack what one of the two lacks."""
    z, not_in_student = floored(student)
    w, not_in_teacher = floored(teacher)
    between = torch.lerp(z, w, t)
    if 0 < t < 1:
        for missing in (not_in_student, not_in_teacher):
            if missing is not None:
                between.masked_fill_(missing, FLOOR)
    return between
