"""An append-only store on disk: one JSON line a finished unit, nothing lost by a kill.

Assistants keep their answers in it, wrappers their responses. A line is written under a file lock,
after what other processes have appended meanwhile has been read, so several processes may share
the file and agree on its values: the first value of a key is the one that stays. A last line cut by
a kill is not read, and dropped by the next append.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import jsonlines

from harness.artefacts.locks import shared_file
from harness.errors import ArtefactError

log = logging.getLogger(__name__)


def key_of(**parts: Any) -> str:
    """A content key (SHA-256, hex) of JSON-able parts; equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def cache_folder() -> Path:
    """Where answers and responses live unless a path is given.

    ``PAPERHARNESS_CACHE``, else ``$XDG_CACHE_HOME/paperharness``, else ``~/.cache/paperharness``.
    """
    own = os.environ.get("PAPERHARNESS_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "paperharness"


_BEGIN = b'{"key": "'


class Store(Mapping[str, Any]):
    """A mapping from content key to JSON value that only grows.

    Args:
        path: The JSON-lines file; created with its folder at the first ``put``.

    Raises:
        ArtefactError: A line other than the last is not what ``put`` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._values: dict[str, Any] = {}
        self._read_to = 0  # bytes
        self._lines = 0
        if self.path.is_dir():
            raise ArtefactError(f"{self.path} is a folder; give a file")
        if self.path.is_file():
            with self.path.open("rb") as file:
                if not _BEGIN.startswith(file.read(len(_BEGIN))):
                    raise ArtefactError(f"{self.path} is another kind of file; give a new one")
                self._read(file)

    def _read(self, file: IO[bytes]) -> None:
        """Take in the whole lines behind those already read."""
        file.seek(self._read_to)
        whole, _, cut = file.read().rpartition(b"\n")  # behind the last \n is a cut line
        if not cut.startswith(_BEGIN[: len(cut)]):
            raise ArtefactError(f"{self.path} is another kind of file; give a new one")
        if cut and self._read_to == 0:
            log.warning("%s: its last line is cut, as by a kill, and is asked again", self.path)
        if not whole:
            return
        lines = whole.split(b"\n")
        texts = (line.decode(errors="surrogatepass") for line in lines)
        entries = jsonlines.Reader(texts, loads=json.loads)
        for _ in lines:
            self._lines += 1
            try:
                entry: Any = entries.read()
                self._values.setdefault(entry["key"], entry["value"])
            except (ValueError, TypeError, KeyError) as cause:
                raise ArtefactError(
                    f"{self.path}, line {self._lines} is damaged ({cause.__cause__ or cause}); "
                    "delete that line or the file"
                ) from cause
        self._read_to += len(whole) + 1

    def refresh(self) -> None:
        """Take in what other processes have appended since."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size > self._read_to:
                    self._read(file)

    def ready(self) -> None:
        """Find out whether the file can be written, before what it shall keep is paid for.

        Raises:
            ArtefactError: It cannot.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except OSError as cause:
            raise self._unwritable(cause) from cause

    def _unwritable(self, cause: OSError) -> ArtefactError:
        way_out = "make room there, or name another file"
        if self.path.is_relative_to(cache_folder()):
            way_out = "make room there, or point PAPERHARNESS_CACHE to another folder"
        return ArtefactError(f"{self.path} cannot be written ({cause.strerror}); {way_out}")

    def put(self, key: str, value: Any) -> Any:
        """Write one finished unit through to disk; a key already there is kept as it is.

        Returns:
            The value that stays, which another process may have written.

        Raises:
            ArtefactError: The file cannot be written, or another process has damaged it.
        """
        if key not in self._values:
            try:
                self._append(key, value)
            except OSError as cause:
                raise self._unwritable(cause) from cause
        return self._values[key]

    def _append(self, key: str, value: Any) -> None:
        line = json.dumps({"key": key, "value": value})  # as it comes back
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with shared_file(self.path), self.path.open("a+b") as file:
            self._drop_cut_line(file.fileno())
            if os.fstat(file.fileno()).st_size < self._read_to:  # deleted or replaced meanwhile
                self._read_to = self._lines = 0
            self._read(file)
            if key in self._values:
                return
            entry = json.loads(line)
            self._read_to += jsonlines.Writer(file, dumps=json.dumps).write(entry)
            file.flush()
            self._lines += 1
            self._values[key] = entry["value"]

    @staticmethod
    def _drop_cut_line(descriptor: int) -> None:
        """Cut what a killed process left behind the last line break."""
        size = os.fstat(descriptor).st_size
        if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
            return
        end = size
        while end > 0:
            start = max(0, end - 65536)
            found = os.pread(descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                os.ftruncate(descriptor, start + found + 1)
                return
            end = start
        os.ftruncate(descriptor, 0)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
