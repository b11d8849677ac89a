"""Locks between processes; the operating system opens them when their holder dies.

A lock is an empty file beside what it guards, held by ``flock`` and taken away by its holder; one
that a killed process has left is taken over. Links in its place are not followed. A file system
without locks is worked on without them, and that is said.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import HarnessError

log = logging.getLogger(__name__)
_POLL = 0.01  # seconds
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def alone(place: Path, what: str) -> Iterator[None]:
    """Keep a second process from making what is to appear at a place.

    Args:
        place: The file or folder, which need not be there; the lock lies beside it.
        what: What is at work there, for the message.

    Raises:
        HarnessError: There is one already, or the lock cannot be opened.
    """
    with ExitStack() as stack:
        try:
            place.absolute().parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_held(place, wait=False))
        except Timeout as cause:
            raise HarnessError(f"another {what} works on {place}; wait for it") from cause
        except OSError as cause:
            raise HarnessError(f"{place} cannot be locked: {cause.strerror}") from cause
        yield


@contextmanager
def shared_file(path: Path) -> Iterator[None]:
    """Wait until no other process writes a file that several share.

    Raises:
        OSError: The lock cannot be opened.
    """
    with _held(path, wait=True):
        yield


def held_since(place: Path) -> float | None:
    """When, as ``time.time`` says it, who is ``alone`` at a place came; None if nobody is.

    Raises:
        HarnessError: The lock cannot be opened.
    """
    lock = _lock_of(place)
    try:
        came = lock.stat().st_mtime
        with alone(place, ""):
            return None
    except FileNotFoundError:
        return None
    except HarnessError as cause:
        if isinstance(cause.__cause__, Timeout):
            return came
        raise


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.lock")


@contextmanager
def _held(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a path; who has waited for one that is gone takes a new one."""
    place = _lock_of(path)
    opened: list[int] = []
    lock = FileLock(
        place, mode=0o666, blocking=wait, poll_interval=_POLL, on_acquired=opened.append
    )
    try:
        try:
            while True:
                lock.acquire()
                if _is(place, opened[-1]):
                    break
                lock.release()
        except OSError as cause:
            lock.release()
            if cause.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, f"{place} is a link") from cause
            if cause.errno not in _NO_LOCKS:
                raise
            place.unlink(missing_ok=True)
            _tell(place.parent)
        except KeyboardInterrupt:
            _clear(place, lock)
            raise
        yield
    finally:
        try:
            if lock.is_locked:
                if _is(place, opened[-1]):
                    place.unlink()
                lock.release()
        except KeyboardInterrupt:
            _clear(place, lock)
            raise


def _clear(place: Path, lock: FileLock) -> None:
    """Let a lock go, and take it away if nobody holds it."""
    lock.release(force=True)
    opened: list[int] = []
    with suppress(OSError), FileLock(place, blocking=False, on_acquired=opened.append):
        if _is(place, opened[-1]):
            place.unlink()


@cache
def _tell(folder: Path) -> None:
    log.warning("%s: its file system has no locks; let one process at a time write there", folder)


def _is(place: Path, descriptor: int) -> bool:
    """Whether an open lock is the one at its place."""
    held = os.fstat(descriptor)
    if not stat.S_ISREG(held.st_mode):
        raise OSError(errno.EINVAL, f"{place} is not a regular file")
    try:
        return os.path.samestat(place.lstat(), held)
    except FileNotFoundError:
        return False
