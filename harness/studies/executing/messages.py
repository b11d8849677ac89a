"""What a worker and its parent say to each other: one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness.studies.units import Artefact, Cell, Outcome, Unit


class _RunArtefact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["artefact"] = "artefact"
    unit: Artefact


class _RunCell(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cell"] = "cell"
    unit: Cell


_Order = Annotated[_RunArtefact | _RunCell, Field(discriminator="kind")]
_ORDER: TypeAdapter[Any] = TypeAdapter(_Order)
_ANSWER = TypeAdapter(Outcome)


def order(unit: Unit) -> bytes:
    """A line that tells a worker to run a unit."""
    if isinstance(unit, Cell):
        return _RunCell(unit=unit).model_dump_json().encode() + b"\n"
    assert isinstance(unit, Artefact)
    return _RunArtefact(unit=unit).model_dump_json().encode() + b"\n"


def ordered(line: bytes) -> Unit:
    """The unit that a line tells of."""
    unit: Unit = _ORDER.validate_json(line).unit
    return unit


def answer(outcome: Outcome) -> bytes:
    """A line that tells how a unit ended."""
    return _ANSWER.dump_json(outcome) + b"\n"


def answered(line: bytes) -> Outcome:
    """How a unit ended, as a line tells."""
    return _ANSWER.validate_json(line)
