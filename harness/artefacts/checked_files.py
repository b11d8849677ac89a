"""Files that are known by their SHA-256: written, linked, and refused if they are others."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.artefacts.checksums import digest
from harness.errors import ArtefactError


def check(path: Path, sha256: str) -> None:
    """Refuse a file that is not the one that was written.

    Raises:
        ArtefactError: It is missing, or its content is another.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} is missing; remove its folder and train again")
    if digest(path) != sha256:
        raise ArtefactError(
            f"{path} is damaged or was replaced (its SHA-256 is not the one in the manifest); "
            f"remove its folder and train again"
        )


def put(folder: Path, name: str, content: bytes, prefix: str = "") -> dict[str, str]:
    """Write a file, and say which: ``file`` and ``sha256``, or ``prefix`` and ``prefix_sha256``."""
    (folder / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    if prefix:
        return {prefix: name, f"{prefix}_sha256": sha256}
    return {"file": name, "sha256": sha256}


def take(folder: Path, below: str, files: Mapping[int, Path]) -> dict[str, dict[str, str]]:
    """Link finished safetensors files into a folder; where they were they stay.

    Args:
        folder: The folder.
        below: A new folder in it.
        files: The files by number, which becomes their name.

    Returns:
        By number: ``file`` and ``sha256``.
    """
    taken = {}
    (folder / below).mkdir()
    for number, path in files.items():
        name = f"{below}/{number}.safetensors"
        try:
            (folder / name).hardlink_to(path)
        except OSError:  # a file system without links
            shutil.copyfile(path, folder / name)
        taken[str(number)] = {"file": name, "sha256": digest(folder / name)}
    return taken
