"""What takes long is made once in a run of the tests, by whichever process asks first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

ENVIRONMENT = "PAPERHARNESS_TEST_SHARED"
"""Names the folder that the processes of one run share."""


def shared() -> Path:
    """That folder."""
    return Path(os.environ[ENVIRONMENT])


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder or file, which no test may change.

    Args:
        name: Says all that it depends on.
        make: Makes it, at the path that it is given.
    """
    place = shared() / name
    with FileLock(f"{place}.lock"):
        if not place.exists():
            make(place)
    return place


def own_cache(folder: Path) -> Path:
    """A cache folder that has lm-eval's index of tasks already, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "task_index"
    if not index.is_symlink():
        index.symlink_to(shared() / "task_index")
    return folder
