"""Finished units of a training, on disk: what has been learnt is never learnt again.

A unit is one method on one shard of the concepts, or a shard's max_act. Each is one safetensors
file that appears by one rename, with everything that is no tensor as JSON in its header. The folder
lies beside the dictionary-to-be and bears the hash of the recipe, so that a rerun finds exactly the
units that are its own; it goes when the dictionary is there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness.errors import ArtefactError
from harness.store import key_of
from harness_axbench.methods import Stored

MAX_ACT = "max_act"


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
        """Whether a unit is finished."""
        return self.path(shard, name).is_file()

    def put(self, shard: int, name: str, stored: Stored) -> None:
        """Write a finished unit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(shard, name)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        rest = {"values": stored.values, "facts": stored.facts, "each": stored.each}
        tensors = {k: v.detach().cpu().contiguous() for k, v in stored.tensors.items()}
        save_file(tensors or {"none": torch.zeros(0)}, draft, {"json": json.dumps(rest)})
        draft.replace(path)

    def get(self, shard: int, name: str) -> Stored:
        """Read a finished unit.

        Raises:
            ArtefactError: The file is damaged.
        """
        path = self.path(shard, name)
        try:
            with safe_open(path, "pt") as file:
                tensors = {k: file.get_tensor(k) for k in file.keys() if k != "none"}  # noqa: SIM118
                rest = json.loads(file.metadata()["json"])
        except Exception as cause:  # safetensors has its own exception types
            raise ArtefactError(
                f"{path} is damaged ({cause}); remove it and train again"
            ) from cause
        return Stored(tensors=tensors, **rest)

    def remove(self) -> None:
        """Remove all units."""
        shutil.rmtree(self.folder, ignore_errors=True)
