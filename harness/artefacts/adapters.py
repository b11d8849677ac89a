"""Adapter folders of PEFT: weights that mean nothing without the model that they were trained on.

adapter/adapter_config.json          {"base_model_name_or_path": …, "peft_type": "LORA", …}
adapter/adapter_model.safetensors
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.artefacts.reading import read_record
from harness.errors import ArtefactError

CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Adapter:
    """A folder with an adapter.

    Attributes:
        folder: Where it is.
        base: The model that it is of, as its file names it.
        revision: The base's revision on the hub.
    """

    folder: Path
    base: str
    revision: str = "main"


@dataclass(frozen=True)
class _Config:
    base_model_name_or_path: str | None = None
    revision: str | None = None


def adapter_in(folder: str | os.PathLike[str]) -> Adapter | None:
    """The adapter in a folder; None where there is none, or a whole model beside it.

    Raises:
        ArtefactError: Its configuration is damaged, or names no base that may be loaded.
    """
    place = Path(folder).expanduser()
    path = place / CONFIG
    if not path.is_file() or (place / "config.json").is_file():
        return None
    config = read_record(path, _Config)
    if not config.base_model_name_or_path:
        raise ArtefactError(f"{place} is an adapter, and its {CONFIG} names no base model")
    base = model_named(config.base_model_name_or_path, path)
    return Adapter(place, base, config.revision or "main")


def model_named(name: str, where: object) -> str:
    """The name of a model out of a file of anybody's: an id on the hub, a folder, ``testbed:NAME``.

    Raises:
        ArtefactError: It is an address, or can be no name.
    """
    if not name.strip() or not name.isprintable() or len(name) > 4096:
        raise ArtefactError(f"{where} names no model: {name[:40]!a}")
    if "://" in name or name.startswith(("\\\\", "//")):
        raise ArtefactError(f"{where} names the model {name:.80}: addresses are not loaded from")
    return name
