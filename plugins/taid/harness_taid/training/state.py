"""What of a checkpoint is JSON: ``state.json``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

Line = dict[str, int | float]


def _with_steps(lines: list[Line]) -> list[Line]:
    if not all("step" in line for line in lines):
        raise ValueError("a line has no step")
    return lines


class SamplerState(BaseModel, strict=True):
    """The student's own outputs: how often they are trained on, and the last validation loss."""

    share: float = Field(ge=0, le=1)
    last: float | None


class State(BaseModel, strict=True):
    """``state.json``.

    Attributes:
        step: Steps taken.
        content: Hash of the exchanges.
        objective: What moves of the objective.
        sampler: Of the student's own outputs.
        best: The best step so far, and its figure.
        lines: All lines of metrics.
    """

    step: int
    content: str
    objective: dict[str, int | float | None]
    sampler: SamplerState
    best: Annotated[list[int | float], Field(min_length=2, max_length=2)] | None
    lines: Annotated[list[Line], AfterValidator(_with_steps)]
