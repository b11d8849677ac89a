r"""TAID's t: from t_start to t_end, faster where the loss falls, never slower than a straight line.

Shing et al. 2025, arXiv 2501.16937, algorithm 1. After optimiser step k of K, whose loss is L:

    the first time:  L′ ← L, and t stays
    δ = (L′ − L) / (L′ + 1e-15)
    m ← β m + (1 − β) δ
    Δ = α σ(m) (1 − t)
    floor = t_start + (t_end − t_start) · k / K
    t ← min(t_end, max(floor, t + Δ)),   L′ ← L

With ``adaptive=False`` t is the floor. As an example, t_start 0.4, α 0.1, K = 100 and losses 2, 1:
δ = 0.5, m = 0.005, Δ = 0.1 · 0.50125 · 0.6 = 0.0301; the floor is 0.412, so t = 0.4301 and the
adaptive term has won.

To know: σ(m) stays near ½, so with the default α = 5e-4 a step adds at most 2.5e-4 · (1 − t), and
the straight line adds (t_end − t_start) / K. The adaptive term wins only in trainings of more than
about 2/α = 4,000 steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import HarnessError
from harness_taid.objectives.ranges import require


@dataclass(kw_only=True)
class Schedule:
    """t and what moves it.

    Attributes:
        total_steps: K, at least 1.
        t_start: From 0, below 1.
        t_end: Above 0, to 1, not below t_start.
        alpha: Size of the adaptive steps, from 0 to 1.
        beta: Of the momentum, from 0, below 1.
        adaptive: Whether the loss moves t at all.
        t: Where t stands.
        momentum: m.
        previous: L′; None before the first update.

    Raises:
        HarnessError: A setting is out of range.
    """

    total_steps: int
    t_start: float = 0.4
    t_end: float = 1.0
    alpha: float = 5e-4
    beta: float = 0.99
    adaptive: bool = True
    t: float = math.nan
    momentum: float = 0.0
    previous: float | None = None

    def __post_init__(self) -> None:
        require("taid", "total_steps", self.total_steps, 1, math.inf)
        require("taid", "t_start", self.t_start, 0, 1, without_high=True)
        require("taid", "t_end", self.t_end, 0, 1, without_low=True)
        require("taid", "alpha", self.alpha, 0, 1)
        require("taid", "beta", self.beta, 0, 1, without_high=True)
        if self.t_start > self.t_end:
            raise HarnessError(
                f"objective taid: t_start={self.t_start} lies above t_end={self.t_end}"
            )
        if math.isnan(self.t):
            self.t = float(self.t_start)

    def floor(self, step: int) -> float:
        """The straight line after ``step`` steps."""
        return self.t_start + (self.t_end - self.t_start) * min(step / self.total_steps, 1.0)

    def update(self, loss: float, step: int) -> dict[str, float]:
        """Move t on after an optimiser step.

        Args:
            loss: The step's loss, the mean over the global batch, computed with the t before.
            step: How many steps have been taken, from 1.

        Returns:
            What is to be logged: t as it is now, t_floor, momentum, delta (the loss's relative
            fall), adaptive_won (1 where the adaptive term, 0 where the straight line set t).

        Raises:
            HarnessError: The loss is not finite.
        """
        if not math.isfinite(loss):
            raise HarnessError(f"step {step}: the loss is {loss}; t cannot follow it")
        floor, fall, won = self.floor(step), 0.0, False
        if self.previous is not None:
            fall = (self.previous - loss) / (self.previous + 1e-15)
            self.momentum = self.beta * self.momentum + (1 - self.beta) * fall
            raised = self.t + self.alpha * _sigmoid(self.momentum) * (1 - self.t)
            won = self.adaptive and raised > floor
            self.t = min(self.t_end, raised if won else floor)
        self.previous = loss
        return {
            "t": self.t,
            "t_floor": floor,
            "momentum": self.momentum,
            "delta": fall,
            "adaptive_won": float(won),
        }

    def state_dict(self) -> dict[str, Any]:
        """What moves, as JSON."""
        return {"t": self.t, "momentum": self.momentum, "previous": self.previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where ``state_dict`` was taken."""
        self.t = float(state["t"])
        self.momentum = float(state["momentum"])
        self.previous = None if state["previous"] is None else float(state["previous"])


def _sigmoid(x: float) -> float:
    """σ(x), also where exp would overflow: a loss may rise a thousandfold in a step."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
