"""What a capture says of itself, ``capture.json``; read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from harness import ArtefactError
from harness.artefacts.reading import read_record
from harness.artefacts.recipes import inside

MANIFEST = "capture.json"
FORM = "harness-taid-capture-1"
_Ids = Annotated[int, Field(ge=1, lt=2**31)]


class CaptureRecipe(BaseModel, frozen=True, strict=True):
    """What the distributions follow from, as far as a distillation asks.

    Attributes:
        teacher: Whose they are.
        revision: The teacher's revision on the hub.
        teacher_sha256: The content of a local teacher.
    """

    teacher: str
    revision: str = "main"
    teacher_sha256: str | None = None


class CaptureRecord(BaseModel, frozen=True, strict=True):
    """A capture's manifest.

    Attributes:
        recipe: What the distributions follow from.
        vocabulary: Ids that they are over.
        top_k: Ids kept of each token.
        files: The SHA-256 of each file.
    """

    recipe: CaptureRecipe
    vocabulary: _Ids
    top_k: _Ids
    files: dict[str, str]


def read_capture(folder: Path) -> CaptureRecord:
    """The manifest of a capture.

    Raises:
        ArtefactError: There is none, or it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtefactError(
            f"--teacher-logits {folder}: no {MANIFEST} is in it; harness taid capture writes it"
        )
    found = read_record(path, CaptureRecord)
    for name in found.files:
        inside(folder, name, path)
    if found.top_k > found.vocabulary:
        raise ArtefactError(f"{path} is damaged: top_k is over the vocabulary")
    return found
