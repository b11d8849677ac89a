"""Locks between processes; the operating system opens them when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import HarnessError


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep a second process out of a folder, which is made if it is not there.

    Args:
        folder: The folder.
        what: What works in it, for the message.

    Raises:
        HarnessError: There is one already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", blocking=False):
            yield
    except Timeout as cause:
        raise HarnessError(f"another {what} works in {folder}; wait for it") from cause


@contextmanager
def shared_file(path: Path) -> Iterator[None]:
    """Wait until no other process writes a file that several share."""
    with FileLock(lock_of(path)):
        yield


def lock_of(path: Path) -> Path:
    """Where the lock of a file that several share lies; it may stay when nobody holds it."""
    return path.with_name(f".{path.name}.lock")
