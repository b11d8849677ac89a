"""JSON lines, with the number of each line for messages."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonlines

from harness.artefacts.reading import ENCODING, loads, regular
from harness.errors import DataError


def numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with its line's number; empty lines are passed over.

    Raises:
        DataError: The file cannot be read, or a line is no JSON object; the message names it.
    """
    try:
        with (
            regular(path) as content,
            io.TextIOWrapper(content, encoding=ENCODING) as file,
            jsonlines.Reader(file, loads=loads) as lines,
        ):
            for number in count(1):
                try:
                    yield number, lines.read(type=dict)
                except EOFError:
                    return
                except jsonlines.InvalidLineError as cause:
                    if cause.line.strip():
                        raise DataError(f"{path}, line {number}: {_what(cause)}") from cause
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise DataError(f"{path} cannot be read: no UTF-8 at byte {cause.start}") from cause


def _what(cause: jsonlines.InvalidLineError) -> str:
    said = cause.__cause__
    if isinstance(said, ValueError) and not isinstance(said, json.JSONDecodeError):
        return str(said)
    if isinstance(said, ValueError):
        return f"not valid JSON ({getattr(said, 'msg', said)})"
    return "not a JSON object"
