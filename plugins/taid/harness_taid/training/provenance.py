"""What a distillation says of itself: ``distillation.json`` and ``metrics.jsonl`` in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import ArtefactError, Row, read_table
from harness.artefacts.checksums import digest

MANIFEST, METRICS = "distillation.json", "metrics.jsonl"


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


def read_distillation(folder: Path) -> Distillation | None:
    """The manifest of a distilled student; None where a folder has none.

    Raises:
        ArtefactError: It is damaged, or lacks what is needed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        recipe, steps = dict(manifest["recipe"]), int(manifest["steps"])
        missing = [name for name in ("objective", "teacher", "seed") if name not in recipe]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise ArtefactError(f"{path} is damaged ({type(cause).__name__}: {cause})") from cause
    if missing:
        raise ArtefactError(f"{path} is damaged: its recipe has no {', '.join(missing)}")
    return Distillation(folder, recipe, steps, manifest, digest(path))


def read_metrics(folder: Path) -> list[Row]:
    """The lines of ``metrics.jsonl``, steps and validations as they came.

    Raises:
        DataError: The file is missing or damaged.
    """
    return read_table(folder / METRICS, ("step",))
