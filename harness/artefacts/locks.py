"""Locks between processes; the operating system opens them when their holder dies."""

from __future__ import annotations

import os
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
    """Wait until no other process writes a file that several share.

    The lock lies beside the file and is taken away by whoever holds it; who has waited for one that
    is gone takes a new one.
    """
    place = path.with_name(f".{path.name}.lock")
    opened: list[int] = []
    lock = FileLock(place, on_acquired=opened.append)
    while True:
        lock.acquire()
        if _is(place, opened[-1]):
            break
        lock.release()
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.release()


def _is(place: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
