"""Files and folders that appear whole: written beside their place, then one rename.

A kill at any moment leaves what was there before, and nothing half-written under its name; the
draft it may leave, ``.NAME.draft``, is removed by the next writer of that name. Writers of one name
take turns, by a lock, so that a draft is never that of a living process.

A power loss too: a draft, every file of a folder, is on disk (``fsync``) before the rename, and the
rename before the writer goes on. Measured (ext4, a local disk): 16 ms for a small file, 0.2 s for
512 MiB.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from harness.artefacts.locks import shared_file
from harness.errors import ArtefactError, HarnessError

_dumps: Callable[[Any], str] = partial(json.dumps, ensure_ascii=False)


def check_writable(place: Path, option: str = "--out") -> None:
    """See early that a file or folder can appear.

    Raises:
        HarnessError: It cannot.
    """
    parent = next(above for above in place.absolute().parents if above.exists())
    probe = parent / f".{place.name}.writable"
    try:
        probe.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process asks the same
            probe.rmdir()
    except OSError as cause:
        raise HarnessError(
            f"{option} {place}: {parent} is no folder that can be written to ({cause.strerror})"
        ) from cause


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A draft to write to, which becomes the folder in the end; after an error nothing is left.

    Raises:
        ArtefactError: The folder has appeared meanwhile, or cannot be written.
    """
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with _draft_of(folder) as draft:
            draft.mkdir()
            yield draft
            move(draft, folder)
    except OSError as cause:
        if cause.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ArtefactError(f"{folder} cannot be written: it is there already") from cause
        raise ArtefactError(f"{folder} cannot be written: {cause}") from cause
    except HarnessError as cause:  # of a file in it
        if not isinstance(cause.__cause__, OSError):
            raise
        raise ArtefactError(f"{folder} cannot be written: {cause.__cause__}") from cause


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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _draft_of(target) as draft:
            draft.touch(exist_ok=False)
            yield draft
            move(draft, target)
    except OSError as cause:
        raise HarnessError(f"cannot write {path}: {cause.strerror or cause}") from cause


def move(draft: Path, place: Path) -> None:
    """Rename a file, or a folder of files, once it is on disk; the name is, too, on return.

    Raises:
        OSError: It cannot be.
    """
    for path in [*draft.rglob("*"), draft]:
        sync(path)
    draft.replace(place)
    sync(place.absolute().parent.resolve())


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk.

    Raises:
        OSError: It cannot be read, or not written.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as cause:
        if cause.errno != errno.EINVAL:  # a file system that does not do this for folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _draft_of(place: Path) -> Iterator[Path]:
    """Where this process alone writes what is to appear at a place; what a kill left is removed."""
    draft = place.with_name(f".{place.name}.draft")
    with shared_file(draft):
        _remove(draft)
        try:
            yield draft
        finally:
            with suppress(OSError):
                _remove(draft)


def _remove(draft: Path) -> None:
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


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
