"""What a distillation says of itself: ``distillation.json`` and ``metrics.jsonl`` in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checksums import digest
from harness.datasets import Row, read_table
from harness.errors import ArtefactError

MANIFEST, METRICS = "distillation.json", "metrics.jsonl"


@dataclass(frozen=True)
class Distillation:
    """How a student came about.

    Attributes:
        folder: Its folder.
        recipe: What it follows from: teacher, student, objective, settings, data, seed, steps, ….
        sha256: Content hash of the manifest.
    """

    folder: Path
    recipe: Mapping[str, Any]
    sha256: str

    @property
    def teacher(self) -> str | None:
        """The teacher's name; None where the objective has none."""
        return self.recipe.get("teacher")

    @property
    def objective(self) -> str:
        """The objective's name."""
        return str(self.recipe["objective"])


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
        recipe = dict(manifest["recipe"])
        missing = [name for name in ("objective", "teacher", "seed", "steps") if name not in recipe]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise ArtefactError(f"{path} is damaged ({type(cause).__name__}: {cause})") from cause
    if missing:
        raise ArtefactError(f"{path} is damaged: its recipe has no {', '.join(missing)}")
    return Distillation(folder, recipe, digest(path))


def read_metrics(folder: Path) -> list[Row]:
    """The lines of ``metrics.jsonl``, steps and validations as they came.

    Raises:
        DataError: The file is missing or damaged.
    """
    return read_table(folder / METRICS, ("step",))
