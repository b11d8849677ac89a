"""An objective with the data's own cross-entropy mixed in, as asked for by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from harness_taid.objectives.base import Objective, Terms
from harness_taid.objectives.divergences import label_cross_entropy


class Blended(Objective):
    """(1 − r) · (−log q(y)) + r · an objective; logs both as ``lm`` and ``distil``."""

    def __init__(self, objective: Objective, ratio: float) -> None:
        super().__init__(objective.context)
        self.objective = objective
        self.ratio = ratio
        self.name = objective.name
        self.needs_weights = objective.needs_weights
        self.counts_masked = objective.counts_masked

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        inner = self.objective.terms(student, teacher, labels, weights)
        lm = label_cross_entropy(student, labels)
        parts = {"lm": lm.detach().sum(), "distil": inner.losses.detach().sum(), **inner.parts}
        return Terms((1 - self.ratio) * lm + self.ratio * inner.losses, parts)

    def parameters(self) -> list[nn.Parameter]:
        return self.objective.parameters()

    def after_step(
        self, loss: float, step: int, parts: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        if parts is None:
            raise ValueError("a blended objective's schedule follows parts['distil']: give parts")
        return self.objective.after_step(parts["distil"], step, parts)

    def state_dict(self) -> dict[str, Any]:
        return self.objective.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.objective.load_state_dict(state)
