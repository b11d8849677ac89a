"""Finished units of a training, on disk: what has been learnt is never learnt again.

A unit is one method on one shard of the concepts, or a shard's max_act. Each is one safetensors
file that appears by one rename, with everything that is no tensor as JSON in its header, and a
checksum of both; a unit that is damaged counts as not finished. The folder lies beside the
dictionary-to-be and bears the hash of the recipe, so that a rerun finds exactly the units that are
its own; it goes when the dictionary is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness import ArtefactError
from harness.artefacts.reading import fitting, loads
from harness.artefacts.writing import replacing
from harness.asking.store import key_of
from harness.errors import one_line
from harness_axbench.methods.base import Stored

log = logging.getLogger(__name__)

MAX_ACT = "max_act"


@dataclass(frozen=True)
class _Told:
    """What a unit's header says, besides its tensors."""

    values: dict[str, Any]
    facts: dict[str, Any]
    each: dict[str, list[Any]]


class Parts:
    """The units of one training.

    Args:
        folder: Where they lie; made with the first of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, out: Path, recipe: Mapping[str, Any]) -> Parts:
        """The units of the dictionary that a recipe makes in a folder."""
        place = out.expanduser().absolute()
        return cls(place.with_name(f".{place.name}.parts-{key_of(**recipe)[:12]}"))

    def path(self, shard: int, name: str) -> Path:
        """The file of a unit."""
        return self.folder / f"{shard:05d}.{name}.safetensors"

    def has(self, shard: int, name: str) -> bool:
        """Whether a unit is finished and whole."""
        path = self.path(shard, name)
        if not path.is_file():
            return False
        try:
            self.get(shard, name)
        except ArtefactError as cause:
            log.warning("%s; it is made again", cause)
            path.unlink()
            return False
        return True

    def put(self, shard: int, name: str, stored: Stored) -> None:
        """Write a finished unit.

        Raises:
            HarnessError: It cannot be written.
        """
        tensors = {k: v.detach().cpu().contiguous() for k, v in stored.tensors.items()}
        text = json.dumps({"values": stored.values, "facts": stored.facts, "each": stored.each})
        header = {"json": text, "sha256": _digest(tensors, text)}
        with replacing(self.path(shard, name)) as draft:
            save_file(tensors or {"none": torch.zeros(0)}, draft, header)

    def get(self, shard: int, name: str) -> Stored:
        """Read a finished unit.

        Raises:
            ArtefactError: The file is damaged.
        """
        path = self.path(shard, name)
        try:
            with safe_open(path, "pt") as file:
                tensors = {k: file.get_tensor(k) for k in file.keys() if k != "none"}  # noqa: SIM118
                text, sha256 = (file.metadata()[key] for key in ("json", "sha256"))
            sound = _digest(tensors, text) == sha256
            told = loads(text)
        except Exception as cause:  # safetensors has its own exception types
            raise ArtefactError(f"{path} is damaged ({one_line(cause, 200)})") from cause
        if not sound:
            raise ArtefactError(f"{path} is damaged (its checksum is another)")
        own = fitting(_Told, told, path, ArtefactError)
        return Stored(tensors=tensors, values=own.values, facts=own.facts, each=own.each)

    def told(self) -> str:
        """What of an interrupted training is kept, as a part of a sentence."""
        count = len(list(self.folder.glob("[!.]*.safetensors")))
        if not count:
            return "no method was finished, and nothing is kept"
        return (
            f"what was finished, {count} files, is kept in {self.folder}: the same command learns "
            "only the rest, for which it reads the texts again"
        )

    def remove(self) -> None:
        """Remove all units."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
