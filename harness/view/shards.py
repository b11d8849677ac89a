"""Shards: scripts that hand one text of JSON to the page, loaded when they are needed.

A page opened from a disk may not fetch, but may load scripts. Each is one call of one function with
two texts, in which no character can end a script, and the second is only ever parsed as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.reports.page import embedded_json
from harness.view.samples import Plain

CALL = "harnessView"
_LARGE = 2**19


def write_script(folder: Path, name: str, encoded: str) -> None:
    """Write a script that hands over a text of JSON."""
    text = f"{CALL}({embedded_json(name)},{embedded_json(encoded)});\n"
    path = folder / f"{name}.js"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


class Shards:
    """The texts of samples, written as they come.

    Attributes:
        count: How many shards there are.
    """

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._folder = folder
        self._held: list[str] = []
        self._size = 0

    def add(self, value: Plain) -> tuple[int, int]:
        """Add a sample's texts; returns its shard and its place there."""
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        place = self.count, len(self._held)
        self._held.append(encoded)
        self._size += len(encoded)
        if self._size > _LARGE:
            self.close()
        return place

    def close(self) -> None:
        """Write what is held."""
        if self._held:
            write_script(self._folder, f"texts-{self.count}", f"[{','.join(self._held)}]")
            self.count += 1
            self._held, self._size = [], 0
