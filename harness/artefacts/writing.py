"""Files and folders that appear whole: written beside their place, then one rename.

A kill at any moment leaves what was there before, and nothing half-written under its name.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from harness.errors import ArtefactError, HarnessError

_dumps: Callable[[Any], str] = partial(json.dumps, ensure_ascii=False)


def check_writable(folder: Path, option: str = "--out") -> None:
    """See early that a folder can appear.

    Raises:
        HarnessError: It cannot.
    """
    parent = next(place for place in folder.absolute().parents if place.exists())
    try:
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=parent).cleanup()
    except OSError as cause:
        raise HarnessError(
            f"{option} {folder}: {parent} is no folder that can be written to ({cause.strerror})"
        ) from cause


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A draft to write to, which becomes the folder in the end; after an error nothing is left.

    Raises:
        ArtefactError: The folder has appeared meanwhile, or cannot be written.
    """
    draft = _beside(folder)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(folder)
    except OSError as cause:
        raise ArtefactError(f"{folder} cannot be written: {cause}") from cause
    except HarnessError as cause:  # of a file in it
        if not isinstance(cause.__cause__, OSError):
            raise
        raise ArtefactError(f"{folder} cannot be written: {cause.__cause__}") from cause
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A draft to write to, which takes a file's place in the end.

    Missing folders are made, links are followed. When the block raises, what was there before is
    untouched and nothing is left behind.

    Raises:
        HarnessError: The file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise HarnessError(f"cannot write {path}: it is not a file")
    draft = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(target)
    except OSError as cause:
        raise HarnessError(f"cannot write {path}: {cause.strerror or cause}") from cause
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def replacing_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A text file in UTF-8 that takes a file's place in the end; half surrogates become "?".

    Raises:
        HarnessError: The file cannot be written.
    """
    with (
        replacing(path) as draft,
        draft.open("w", encoding="utf-8", errors="replace", newline="") as file,
    ):
        yield file


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        HarnessError: The file cannot be written.
    """
    with replacing_text(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write a value as indented JSON, whole or not at all.

    Raises:
        HarnessError: The file cannot be written.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_lines(
    path: str | os.PathLike[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    dumps: Callable[[Any], str] = _dumps,
) -> None:
    """Write JSON lines, whole or not at all.

    Args:
        path: The file.
        rows: An object a line.
        dumps: One object as JSON; by default text is kept as it is.

    Raises:
        HarnessError: The file cannot be written.
    """
    import jsonlines

    with replacing_text(path) as file:
        jsonlines.Writer(file, dumps=dumps).write_all(rows)


def append_line(
    path: Path, row: Mapping[str, Any], *, dumps: Callable[[Any], str] = _dumps
) -> None:
    """Append one JSON line; a kill leaves at most that line cut."""
    import jsonlines

    with path.open("a", encoding="utf-8", errors="replace") as file:
        jsonlines.Writer(file, dumps=dumps).write(row)


def whole(text: str) -> str:
    """A text without half surrogate pairs, which no file could hold: each becomes "?"."""
    return text.encode(errors="replace").decode()


def _beside(place: Path) -> Path:
    """Where a process writes what is to appear at a place."""
    return place.with_name(f".{place.name}.{os.getpid()}")
