"""Objectives that compare a token's two distributions, p of the teacher and q of the student."""

from __future__ import annotations

from torch import Tensor

from harness_taid.objectives.base import Objective, Terms


class ForwardKL(Objective):
    """−Σ p log q, the cross-entropy whose gradient is that of KL(p ‖ q)."""

    name = "fkl"

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None
        log_q = student.float().log_softmax(-1)
        losses = -(teacher.float().softmax(-1) * log_q).sum(-1)
        return Terms(losses, {})
