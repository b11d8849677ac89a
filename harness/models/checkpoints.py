"""Where a model's checkpoint is, and why one could not be loaded, in a line."""

from __future__ import annotations

import textwrap
from pathlib import Path

from harness.errors import HarnessError
from harness.testbed import resolve


def place_of(pretrained: str) -> str:
    """The folder of a local checkpoint, or the unchanged name of one on the hub.

    Raises:
        HarnessError: A path leads to no folder, or to one that holds no checkpoint.
    """
    name = resolve(pretrained)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith(("/", ".", "~")):
            raise HarnessError(f"cannot load the checkpoint '{pretrained}': no such folder")
        return name
    if not (folder / "config.json").is_file():
        raise HarnessError(f"cannot load the checkpoint '{pretrained}': no config.json in it")
    return str(folder)


def not_loaded(pretrained: str, place: str, cause: Exception) -> str:
    """Why a checkpoint at a place could not be loaded, in a line."""
    said = " ".join(str(cause).split()) or type(cause).__name__
    reason = textwrap.shorten(said, 240, placeholder=" …")
    if Path(place).is_dir():
        return f"cannot load the checkpoint '{pretrained}': {reason}"
    return f"no folder '{pretrained}' is here, and the hub does not give it: {reason}"
