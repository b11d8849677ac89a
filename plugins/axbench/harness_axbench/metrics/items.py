"""What is saved of a row for the metrics, as schemas: samples are checked when they are read.

A metric's items are plain mappings; those of a run that has just ended need no check. What a
samples file says is anybody's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Rating = Annotated[float, Field(ge=0, le=2)] | None
_Finite = Annotated[float, Field(ge=-1e30, le=1e30)]


class _Item(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    concept_id: Annotated[int, Field(ge=0, lt=2**63)]


class Detected(_Item):
    """A text of the detection tasks."""

    category: str
    score: _Finite


class Rated(_Item):
    """A generation of the steering tasks; None for a rating that is missing."""

    factor: _Finite | None
    split: Literal["select", "test"]
    concept: _Rating
    relatedness: _Rating
    fluency: _Rating
    judged: bool = True
    instruction: int | None = None


class Suppressed(Rated):
    """A generation of the suppression task."""

    absence: _Rating
