"""What a distillation says of itself: ``distillation.json`` and ``metrics.jsonl`` in its folder.

A student may be anybody's, and its record is data. The teacher that it names is loaded without code
of its own, from the hub or a folder, never from an address; from a folder only if it is the very
model that the student was distilled from, by its SHA-256. Whoever measures may name another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt

from harness import ArtefactError, DataError, Row, read_table
from harness.artefacts.adapters import model_named
from harness.artefacts.checksums import digest
from harness.artefacts.reading import fitting, read_json
from harness.models.checkpoints import content_of
from harness.reports.values import number
from harness.testbed import resolve

MANIFEST, METRICS = "distillation.json", "metrics.jsonl"


class _Recipe(BaseModel, strict=True):
    objective: str
    teacher: str | None
    seed: int
    student: str | None = None
    settings: dict[str, Any] = {}
    compat: str | None = None
    sampler: str | None = None
    teacher_revision: str | None = None
    teacher_sha256: str | None = None


class _Record(BaseModel, strict=True):
    recipe: _Recipe
    steps: NonNegativeInt


@dataclass(frozen=True)
class Distillation:
    """How a student came about.

    Attributes:
        folder: Its folder.
        recipe: What it follows from: teacher, student, objective, settings, data, seed, ….
        steps: Optimiser steps that were taken.
        facts: The whole manifest.
        sha256: Content hash of the manifest.
    """

    folder: Path
    recipe: Mapping[str, Any]
    steps: int
    facts: Mapping[str, Any]
    sha256: str

    @property
    def objective(self) -> str:
        """The objective's name."""
        return str(self.recipe["objective"])

    @property
    def arguments(self) -> dict[str, Any]:
        """What tells students of one objective from each other."""
        named = ("teacher", "seed", "settings", "compat", "sampler")
        usual: tuple[Any, ...] = (None, "", {}, "off", "paper")
        given = {name: self.recipe.get(name) for name in named}
        return {name: value for name, value in given.items() if value not in usual} | {
            "steps": self.steps
        }

    @property
    def teacher(self) -> str | None:
        """The teacher to measure against, as far as the record may say so.

        Raises:
            HarnessError: It names an address, or a folder that is not here or holds another model.
        """
        named, sha256 = self.recipe["teacher"], self.recipe.get("teacher_sha256")
        if named is None:
            return None
        path = self.folder / MANIFEST
        place = Path(resolve(model_named(named, path))).expanduser()
        is_path = named.startswith(("/", ".", "~")) or named.count("/") > 1
        instead = f"give --model_args pretrained={self.folder},teacher=TEACHER"
        if not place.is_dir():
            if sha256 or is_path:
                raise ArtefactError(
                    f"{path} names the teacher {named}, a folder that is not here: {instead}"
                )
        elif (sha256 or not named.startswith("testbed:")) and content_of(named) != sha256:
            raise ArtefactError(
                f"{path} names the teacher {named}, and the folder of that name here is not the "
                f"model that the student was distilled from: {instead}"
            )
        return str(named)


def read_distillation(folder: Path) -> Distillation | None:
    """The manifest of a distilled student; None where a folder has none.

    Raises:
        ArtefactError: It is damaged, or lacks what is needed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    record = fitting(_Record, manifest, path, ArtefactError)
    return Distillation(folder, manifest["recipe"], record.steps, manifest, digest(path))


def read_metrics(folder: Path) -> list[Row]:
    """The lines of ``metrics.jsonl``, steps and validations as they came.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / METRICS
    lines = read_table(path, ("step",))
    for row, line in enumerate(lines, start=1):
        if number(line["step"]) is None:
            raise DataError(f"{path}, row {row}: step is no number")
    return lines
