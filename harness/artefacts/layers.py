"""How deep a checkpoint says that it is: a network is built before its weights are read.

A ``config.json`` that asks for a billion layers would fill the memory first and fail afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.artefacts.reading import read_json
from harness.errors import ArtefactError

MOST = 4096
"""Layers, where the weights' files do not say how many tensors they hold."""


_CHEAP = 128
"""Layers that few models go beyond, and that are soon built, whatever the files hold."""


def check_layers(folder: Path) -> None:
    """Refuse a checkpoint that says it has more layers than tensors.

    Args:
        folder: With ``config.json``; its weights, if any, in safetensors or otherwise.

    Raises:
        ArtefactError: It does, or ``config.json`` is damaged.
    """
    path = folder / "config.json"
    most = max(_counts(read_json(path)), default=0)
    if most <= _CHEAP:
        return
    tensors = _tensors(folder)
    if most > tensors:
        raise ArtefactError(
            f"{path} says that the model has {most:,} layers; its weights are {tensors:,} tensors "
            "at most: it is damaged"
        )


def _counts(config: Any) -> Iterator[int]:
    """All numbers of layers in a configuration."""
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _counts(value)
        elif isinstance(value, (int, float)) and "layer" in key:
            yield int(value) if abs(value) < float("inf") else 1 << 62


def _tensors(folder: Path) -> int:
    from safetensors import SafetensorError, safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, "np") as opened:
                count += len(opened.keys())
        except (OSError, SafetensorError):  # whoever loads it says so
            return MOST
    return count or MOST
