"""An append-only store on disk: one JSON line a finished unit, nothing lost by a kill.

Assistants keep their answers in it, wrappers their responses. A line is written under a file lock,
after what other processes have appended meanwhile has been read, so several processes may share
the file and agree on its values: the first value of a key is the one that stays.

A kill can leave the last line cut, a power loss also filled with NUL bytes: such a tail is not
read, that is said, and the next append drops it. A line damaged before that is an error. An answer
is in the operating system's hands when ``put`` returns, so that a kill costs none; it is on disk
(``fsync``) at once if the last such wait is a second ago, else with a later answer or when the
system writes it (Linux: within 30 s). A wait takes 4 ms (ext4 on a local disk), a put 1 ms: one
answer in a second, as judges give them, is safe from a power loss at once, and a thousand cost one
wait.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

import jsonlines

from harness.artefacts.cache import cache_folder
from harness.artefacts.locks import shared_file
from harness.artefacts.reading import regular
from harness.artefacts.writing import sync
from harness.errors import ArtefactError

log = logging.getLogger(__name__)


def key_of(**parts: Any) -> str:
    """A content key (SHA-256, hex) of JSON-able parts; equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


_BEGIN = b'{"key": "'
_PAUSE = 1.0
"""Seconds between two waits for the disk."""


class Store(Mapping[str, Any]):
    """A mapping from content key to JSON value that only grows.

    Args:
        path: The JSON-lines file, no link; created with its folder at the first ``put``.

    Raises:
        ArtefactError: It is no such file, or a line other than the last is not what ``put`` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._values: dict[str, Any] = {}
        self._file: os.stat_result | None = None
        self._read_to = 0  # bytes
        self._lines = 0
        self._on_disk = 0.0
        if self.path.is_dir():
            raise ArtefactError(f"{self.path} is a folder; give a file")
        if os.path.lexists(self.path):
            self._first_read()

    def _first_read(self) -> None:
        try:
            with regular(self.path, links=False) as file:
                torn = self._read(file)
                if torn:
                    with suppress(OSError), shared_file(self.path):  # another process may be at it
                        torn = self._read(file)
        except OSError as cause:
            raise self._unusable(cause, "read") from cause
        if torn:
            self._tell(torn)

    def _tell(self, torn: int) -> None:
        log.warning(
            "%s: the last %d bytes are no whole line, as a kill or a power loss leaves them; they "
            "are dropped, and what they answered is asked again",
            *(self.path, torn),
        )

    def _read(self, file: IO[bytes] | FileIO) -> int:
        """Take in the whole lines behind those already read; returns how many bytes are behind."""
        earlier: dict[str, Any] = {}
        found = os.fstat(file.fileno())
        known = self._file is not None and os.path.samestat(self._file, found)
        if not known or found.st_size < self._read_to:  # deleted or replaced meanwhile
            earlier, self._values = self._values, {}
            self._read_to = self._lines = 0
        self._file = found
        file.seek(self._read_to)
        content = file.read()
        *lines, cut = content.split(b"\n")
        torn = len(cut)
        if lines and not cut and b"\0" in lines[-1]:
            cut = lines.pop()
            torn = len(cut) + 1
        begins = [cut, *lines[: self._read_to == 0]]
        if not all(_BEGIN.startswith(_whole(line)[: len(_BEGIN)]) for line in begins):
            raise ArtefactError(f"{self.path} is another kind of file; give a new one")
        self._take(lines)
        self._read_to += len(content) - torn
        self._values = earlier | self._values
        return torn

    def _take(self, lines: list[bytes]) -> None:
        texts = (line.decode(errors="surrogatepass") for line in lines)
        entries = jsonlines.Reader(texts, loads=json.loads)
        for _ in lines:
            self._lines += 1
            try:
                entry: Any = entries.read()
                self._values.setdefault(entry["key"], entry["value"])
            except (ValueError, TypeError, KeyError, RecursionError) as cause:
                raise ArtefactError(
                    f"{self.path}, line {self._lines} is damaged ({cause.__cause__ or cause}); "
                    "delete that line or the file"
                ) from cause

    def refresh(self) -> None:
        """Take in what other processes have appended since."""
        with suppress(FileNotFoundError), regular(self.path, links=False) as file:
            self._read(file)

    def ready(self) -> None:
        """Find out whether the file can be written, before what it shall keep is paid for.

        Raises:
            ArtefactError: It cannot.
        """
        try:
            self._opened().close()
        except OSError as cause:
            raise self._unusable(cause) from cause

    def _unusable(self, cause: OSError, done: str = "written") -> ArtefactError:
        if cause.errno == errno.ELOOP and self.path.is_symlink():
            return ArtefactError(f"{self.path} is a link; name the file that it leads to")
        way_out = "make room there, or name another file"
        if self.path.is_relative_to(cache_folder()):
            way_out = "make room there, or point PAPERHARNESS_CACHE to another folder"
        return ArtefactError(f"{self.path} cannot be {done} ({cause.strerror}); {way_out}")

    def put(self, key: str, value: Any) -> Any:
        """Write one finished unit; a key already there is kept as it is.

        Returns:
            The value that stays, which another process may have written.

        Raises:
            ArtefactError: The file cannot be written, or another process has damaged it.
        """
        if key not in self._values:
            try:
                self._append(key, value)
            except OSError as cause:
                raise self._unusable(cause) from cause
        return self._values[key]

    def _append(self, key: str, value: Any) -> None:
        line = json.dumps({"key": key, "value": value}).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with shared_file(self.path), self._opened() as file:
            torn = self._read(file)
            if torn:
                self._tell(torn)
                file.truncate(self._read_to)
            if key in self._values:
                return
            new = self._read_to == 0
            try:
                left = memoryview(line)
                while left:
                    left = left[file.write(left) :]
            except OSError:  # a full disk, mostly
                file.truncate(self._read_to)
                raise
            self._read_to += len(line)
            self._lines += 1
            self._values[key] = json.loads(line)["value"]
            if new or time.monotonic() >= self._on_disk + _PAUSE:
                os.fsync(file.fileno())
                self._on_disk = time.monotonic()
            if new:
                sync(self.path.parent)

    def _opened(self) -> FileIO:
        """The file, to read and to append to, made if it is not there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(self.path, flags, 0o666), "a+b", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "not a regular file")
        return file

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _whole(line: bytes) -> bytes:
    """A line up to where a power loss has filled it up."""
    return line.partition(b"\0")[0]
