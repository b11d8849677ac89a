"""What the fuzz tests of all plugins have in common: something that reads files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader and the files that it reads, which are valid as they lie there.

    Attributes:
        name: What is read.
        files: The files that may be mangled.
        read: Reads them all; may raise a ``HarnessError`` of one line and nothing else.
    """

    name: str
    files: list[Path]
    read: Callable[[], object]
