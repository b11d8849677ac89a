r"""CTKD: a temperature that is learnt against the student, with a curriculum.

Li et al. 2023, *Curriculum Temperature for Knowledge Distillation*, arXiv 2211.16231, with one
global temperature.

    T = t_start + t_range · σ(θ),   θ₀ = 1:   T₀ = 15.62 with the defaults 1 and 20
    loss = −Σ p^T log q^T · T²,   p^T = softmax(w / T),  q^T = softmax(z / T)
    the gradient on θ is multiplied by −½ (1 − cos(π e / E)),  e epochs done, at most E

So θ climbs the loss, not at first and with full force from epoch E = ``ramp_epochs`` on. θ belongs
to the optimiser (``parameters``).

Deviations: e counts optimiser steps, not whole epochs. ``compat="reference"``: θ is not trained, as
in the reference code, where it is in no optimiser; with it goes the sign of its gradient there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.ranges import require
from harness_taid.objectives.rows import counted, divergence, floored


class CTKD(Objective):
    """−Σ p^T log q^T · T², T = t_start + t_range · σ(θ), θ learnt adversarially."""

    name = "ctkd"

    def __init__(
        self,
        context: Context,
        *,
        t_start: float = 1.0,
        t_range: float = 20.0,
        ramp_epochs: float = 10.0,
    ) -> None:
        super().__init__(context)
        require(self.name, "t_start", t_start, 0, math.inf, without_low=True, without_high=True)
        require(self.name, "t_range", t_range, 0, math.inf, without_high=True)
        require(self.name, "ramp_epochs", ramp_epochs, 0, math.inf, without_low=True)
        self.t_start = t_start
        self.t_range = t_range
        self.ramp_epochs = ramp_epochs
        self.theta = nn.Parameter(torch.ones(()))
        self.step = 0

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
        temperature = self._temperature().to(z.device)
        log_q = counted((z / temperature).log_softmax(-1), missing)
        p = (w / temperature).softmax(-1)
        return Terms(-divergence(p, log_q) * temperature.square(), {})

    @property
    def temperature(self) -> float:
        """T."""
        return float(self._temperature().detach())

    @property
    def reversal(self) -> float:
        """What θ's gradient is multiplied by."""
        epochs = self.step / self.context.steps_per_epoch
        return -(1 - math.cos(math.pi * min(1.0, epochs / self.ramp_epochs))) / 2

    def _temperature(self) -> Tensor:
        fixed = self.theta.detach()
        theta = fixed + self.reversal * (self.theta - fixed)
        return self.t_start + self.t_range * torch.sigmoid(theta)

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.context.reference else [self.theta]

    def after_step(
        self, loss: float, step: int, parts: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        logged = {"temperature": self.temperature, "reversal": self.reversal}
        self.step = step
        return logged

    def state_dict(self) -> dict[str, Any]:
        return {"theta": float(self.theta.detach()), "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        with torch.no_grad():
            self.theta.fill_(state["theta"])
        self.step = int(state["step"])
