"""JSON lines, with the number of each line for messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonlines

from harness.errors import DataError

ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte-order mark."""


def loads(text: str | bytes) -> Any:
    """A JSON text's value.

    Raises:
        ValueError: It is no JSON, or has half a surrogate pair, which no file can hold.
    """
    value = json.loads(text)
    if isinstance(text, str) and "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as cause:
            raise ValueError(
                f"half a surrogate pair in a text: {cause.object[cause.start]!a}"
            ) from None
    return value


def numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with its line's number; empty lines are passed over.

    Raises:
        DataError: The file cannot be read, or a line is no JSON object; the message names it.
    """
    try:
        with path.open(encoding=ENCODING) as file, jsonlines.Reader(file, loads=loads) as lines:
            for number in count(1):
                try:
                    yield number, lines.read(type=dict)
                except EOFError:
                    return
                except jsonlines.InvalidLineError as cause:
                    if cause.line.strip():
                        raise DataError(f"{path}, line {number}: {_what(cause)}") from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"{path} cannot be read: {cause}") from cause


def _what(cause: jsonlines.InvalidLineError) -> str:
    said = cause.__cause__
    if isinstance(said, ValueError) and not isinstance(said, json.JSONDecodeError):
        return str(said)
    if isinstance(said, ValueError):
        return f"not valid JSON ({getattr(said, 'msg', said)})"
    return "not a JSON object"
