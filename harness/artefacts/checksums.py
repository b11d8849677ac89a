"""SHA-256 of a file, and of a local model."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from harness.artefacts.reading import regular


def digest(path: Path) -> str:
    """A file's SHA-256."""
    with regular(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint(path: str) -> str | None:
    """SHA-256 of a local model's configuration, tokenizer and weights; None for a hub id.

    The files are read once, however often it is asked for, unless they change.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return None
    return _fingerprint(folder, tuple((p.name, p.stat().st_mtime_ns) for p in folder.iterdir()))


@lru_cache
def _fingerprint(folder: Path, changed: tuple[tuple[str, int], ...]) -> str:
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in {".safetensors", ".bin", ".json", ".model", ".jinja"}:
            with regular(file) as content:
                found.update(file.name.encode())
                found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()
