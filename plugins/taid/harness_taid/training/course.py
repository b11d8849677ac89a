"""What a run does, step by step, and where it stands; the same on all processes, after any kill."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from harness.artefacts.trainings import order
from harness_taid.data.exchanges import Item
from harness_taid.network.batching import Layout


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a run does.

    Attributes:
        train: Exchanges to train on.
        dev: Those held out.
        steps: Optimiser steps in all.
        batch: Exchanges a step.
        layout: How they come into forward passes.
        rate: Highest learning rate.
        warmup: Steps in which it rises.
        clip: Largest norm of the gradient.
        seed: Of all that is random.
        select: What the chosen checkpoint has the best of.
        validate_every: Steps between validations; 0 for one an epoch.
        save_every: Steps between checkpoints; 0 for none but those of validations.
        save_seconds: Seconds between checkpoints, at most about.
        pad: The padding token.
        content: Hash of the exchanges.
    """

    train: Sequence[Item]
    dev: Sequence[Item]
    steps: int
    batch: int
    layout: Layout
    rate: float
    warmup: int
    clip: float
    seed: int
    select: str
    validate_every: int
    save_every: int
    save_seconds: float
    pad: int
    content: str

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the data; the last batch may be smaller."""
        return math.ceil(len(self.train) / self.batch)

    def epoch(self, step: int) -> float:
        """Passes over the data after a step."""
        return round(step / self.steps_per_epoch, 4)

    def validates(self, step: int) -> bool:
        """Whether the student is validated after a step."""
        every = self.validate_every or self.steps_per_epoch
        return bool(self.dev) and (step % every == 0 or step == self.steps)

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after a step, whatever the clock says."""
        regular = self.save_every and step % self.save_every == 0
        return bool(regular) or self.validates(step) or step == self.steps


class Batches:
    """The global batches of a course, one a step; an epoch has another order than the last.

    Args:
        course: The course.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._lengths = [len(item.ids) for item in course.train]
        self._epoch = -1
        self._places: list[int] = []

    def at(self, step: int) -> list[Item]:
        """The exchanges of a step, from 1."""
        course = self._course
        epoch, place = divmod(step - 1, course.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._places = order(self._lengths, course.batch, f"{course.seed} epoch {epoch}")
        part = self._places[place * course.batch : (place + 1) * course.batch]
        return [course.train[n] for n in part]


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


def seed_of(*parts: object) -> int:
    """A seed below 2⁶³ of what it depends on."""
    text = " ".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
