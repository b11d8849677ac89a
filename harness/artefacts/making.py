"""A folder in the making: where it can be written, by one process, with a word on what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.artefacts.locks import alone
from harness.artefacts.writing import check_writable
from harness.errors import HarnessError


@contextmanager
def making(out: Path, what: str, stays: Callable[[], str]) -> Iterator[None]:
    """The work for a folder, kept from a second process that would make the same.

    Args:
        out: The folder that is to appear.
        what: What makes it, for messages.
        stays: Says, where the work is interrupted, what of it the same command finds again.

    Raises:
        HarnessError: The folder cannot be written, or another process makes it or has just made it.
    """
    check_writable(out)
    try:
        with alone(out, what):
            if out.is_dir() and any(out.iterdir()):
                raise HarnessError(f"another {what} has just written {out}; run the command again")
            yield
    except BaseException as stop:  # Ctrl-C, or what somebody's import has made of it
        stop.add_note(stays())
        raise
