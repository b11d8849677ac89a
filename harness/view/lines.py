"""Lines of a samples file, whoever wrote it: a broken one is counted and the rest is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.artefacts.reading import loads, regular
from harness.errors import DataError

LONGEST = 2**26
"""Bytes of a line, at most."""


def objects_of(file: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Each line's object, or None where it is broken or too long, and where the line ends.

    Raises:
        DataError: The file is a link, no regular file, or cannot be read.
    """
    try:
        with regular(file, links=False) as content:
            while line := content.readline(LONGEST):
                if len(line) == LONGEST and not line.endswith(b"\n"):
                    while (rest := content.readline(LONGEST)) and not rest.endswith(b"\n"):
                        pass
                    yield content.tell(), None
                elif line.strip():
                    yield content.tell(), _object(line)
    except OSError as cause:
        raise DataError(f"{file} cannot be read: {cause.strerror}") from cause


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
