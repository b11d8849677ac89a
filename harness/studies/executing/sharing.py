"""What the units of one process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.studies.executing.networks import Networks


class Tasks:
    """lm-eval's index of its own tasks, whose files are read once."""

    def __init__(self) -> None:
        self._index: Any = None

    def __call__(self, read: Callable[[], Any]) -> Any:
        """The index.

        Args:
            read: Reads the files.
        """
        if self._index is None:
            self._index = read()
        return self._index


@dataclass
class Shared:
    """What was loaded and read for one unit, and serves others."""

    networks: Networks = field(default_factory=Networks)
    tasks: Tasks = field(default_factory=Tasks)
