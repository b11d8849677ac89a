"""An append-only store on disk: one JSON line a finished unit, nothing lost by a kill.

Assistants keep their answers in it, wrappers their responses. A line is written with one
``write`` under a file lock, so several processes may append to the same file; a last line cut by a
kill is dropped when the file is read and overwritten by the next append.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ArtefactError


def key_of(**parts: Any) -> str:
    """A content key (SHA-256, hex) of JSON-able parts; equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cache_folder() -> Path:
    """Where answers and responses live unless a path is given.

    ``PAPERHARNESS_CACHE``, else ``$XDG_CACHE_HOME/paperharness``, else ``~/.cache/paperharness``.
    """
    own = os.environ.get("PAPERHARNESS_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "paperharness"


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
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # the part behind the last \n is cut
            try:
                entry = json.loads(line)
                self._values[entry["key"]] = entry["value"]
            except (ValueError, TypeError, KeyError) as cause:
                raise ArtefactError(
                    f"{self.path}, line {number} is damaged ({cause}); delete that line or the file"
                ) from cause

    def put(self, key: str, value: Any) -> None:
        """Write one finished unit through to disk; a key already there is kept as it is."""
        if key in self._values:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n"
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._drop_cut_line(file.fileno())
            file.write(line)
            file.flush()
        self._values[key] = value

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
