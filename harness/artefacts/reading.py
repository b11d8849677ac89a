"""Files from anywhere: regular files of a stated size, JSON of a stated shape, one line otherwise.

What others send is data. A file is read once it is known to be one (no pipe, no device) and not too
large, parsed without a way to end the process, and checked against a schema in one place, so that
what comes behind it need not ask again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ArtefactError, DataError, HarnessError, one_line

T = TypeVar("T")
ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte-order mark."""

LARGEST = 2**28
"""Bytes of a JSON document, at most."""


@contextmanager
def regular(path: str | os.PathLike[str], *, links: bool = True) -> Iterator[BufferedReader]:
    """Open a regular file to read, never a pipe or a device, which could block for ever.

    Args:
        path: The file.
        links: Whether the file itself may be a symbolic link.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a regular file", os.fspath(path))
        yield file


def read_bytes(path: str | os.PathLike[str], largest: int = LARGEST) -> bytes:
    """A regular file's content.

    Raises:
        OSError: It is none, it cannot be read, or it is larger.
    """
    with regular(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(0, f"more than {largest:,} bytes", os.fspath(path))
    return content


def loads(text: str | bytes) -> Any:
    """A JSON text's value; bytes are UTF-8, with or without a byte-order mark.

    Raises:
        ValueError: It is no JSON, is nested too deeply, or has half a surrogate pair, which no file
            can hold.
    """
    if isinstance(text, bytes):
        text = text.decode(ENCODING)
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError as cause:
        half = f"{cause.object[cause.start]!a}"
        raise ValueError(f"half a surrogate pair in a text: {half}") from None
    return value


def read_json(path: Path, error: type[HarnessError] = ArtefactError) -> Any:
    """The value of a JSON file.

    Raises:
        HarnessError: It cannot be read or is no JSON; of the type given.
    """
    try:
        return loads(read_bytes(path))
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}") from cause
    except ValueError as cause:
        raise error(f"{path} is damaged: {_why(cause)}") from cause


def read_record(path: Path, kind: type[T], error: type[HarnessError] = ArtefactError) -> T:
    """The value of a JSON file of a stated shape.

    Args:
        path: The file.
        kind: A pydantic model or dataclass, or any type that pydantic can check.
        error: What is raised.

    Raises:
        HarnessError: It cannot be read, is no JSON or of another shape; the message says where.
    """
    return fitting(kind, read_json(path, error), path, error)


def fitting(kind: type[T], value: Any, where: object, error: type[HarnessError] = DataError) -> T:
    """A value checked against a type.

    Args:
        kind: A pydantic model or dataclass, or any type that pydantic can check.
        value: What was read.
        where: The file, and the place in it, for the message.
        error: What is raised.

    Raises:
        HarnessError: It is of another shape; the message names the first field that is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as cause:
        wrong, *more = cause.errors(include_url=False, include_input=False)
        place = ".".join(map(str, wrong["loc"]))
        what = wrong["msg"].removeprefix("Value error, ")
        said = f"{place}: {what}" if place else what
        rest = f", and {len(more)} more" if more else ""
        raise error(f"{where} is damaged: {one_line(said, 300)}{rest}") from cause
    except RecursionError as cause:
        raise error(f"{where} is damaged: nested too deeply") from cause


def _why(cause: ValueError) -> str:
    if isinstance(cause, UnicodeDecodeError):
        return f"no UTF-8 at byte {cause.start}"
    if isinstance(cause, json.JSONDecodeError):
        return f"no valid JSON ({cause.msg}, line {cause.lineno})"
    return str(cause)
