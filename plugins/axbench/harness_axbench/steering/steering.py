"""How one request is steered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness_axbench.steering.positions import ALL

ADD, CLAMP, MIN_CLAMP, NULL_OUT = "add", "clamp", "min_clamp", "null_out"
KINDS = (ADD, CLAMP, MIN_CLAMP, NULL_OUT)


@dataclass(frozen=True)
class Steering:
    """What is done to one request: which concept, how, how much, and where.

    Attributes:
        method: Name of the method.
        concept_id: The concept's number in the data set.
        factor: Multiple of max_act; None for what has no factor.
        max_act: The concept's unit.
        layer: The block whose output is edited.
        place: The concept's row in the dictionary.
        intervention: One of ``KINDS``.
        positions: As ``positions.Positions.parse`` reads it.
    """

    method: str
    concept_id: int
    factor: float | None
    max_act: float
    layer: int
    place: int
    intervention: str = ADD
    positions: str = ALL

    @property
    def scale(self) -> float:
        """The multiple of w that an addition adds; 0 without a factor."""
        return 0.0 if self.factor is None else self.factor * self.max_act

    def trace(self) -> dict[str, Any]:
        """What a sample's record says of it."""
        return {
            "method": self.method,
            "concept_id": self.concept_id,
            "factor": self.factor,
            "max_act": self.max_act,
            "layer": self.layer,
            "intervention": self.intervention,
            "positions": self.positions,
        }
