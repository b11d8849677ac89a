"""A reader of files, as tests that mangle these files need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """Files that are whole, and what reads them."""

    name: str
    files: list[Path]
    read: Callable[[], object]
