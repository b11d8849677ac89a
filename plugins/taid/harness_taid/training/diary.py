"""The figures of a run as lines of JSON, and what to say where it stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness.artefacts.writing import append_line, write_lines
from harness_taid.training.checkpoints import Checkpoints
from harness_taid.training.provenance import METRICS


class Diary:
    """Keeps every figure; after a kill those of the checkpoint and no others.

    Args:
        work: The folder of ``metrics.jsonl``.
        checkpoints: Those of the run.
        writes: Whether this process writes.
    """

    def __init__(self, work: Path, checkpoints: Checkpoints, *, writes: bool) -> None:
        self.file = work / METRICS
        self.lines: list[dict[str, Any]] = []
        self._checkpoints = checkpoints
        self._writes = writes

    def begin(self, lines: Sequence[dict[str, Any]]) -> None:
        """Start with the lines of a checkpoint.

        Raises:
            HarnessError: The file cannot be written.
        """
        self.lines = list(lines)
        if self._writes:
            try:
                write_lines(self.file, self.lines, dumps=json.dumps)
            except HarnessError as cause:
                raise HarnessError(self._full(cause.__cause__ or cause)) from cause

    def add(self, line: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            HarnessError: The file cannot be written.
        """
        self.lines.append(line)
        if self._writes:
            try:
                append_line(self.file, line, dumps=json.dumps)
            except OSError as cause:
                raise HarnessError(self._full(cause)) from cause

    def dev_figures(self, step: int) -> dict[str, float]:
        """The validation figures of a step; none where it was not validated."""
        for line in reversed(self.lines):
            if line["step"] == step and "dev_loss" in line:
                return {name: value for name, value in line.items() if name.startswith("dev_")}
        return {}

    def not_finite(self, what: str, step: int) -> str:
        """The words for a training that has come to NaN or infinity."""
        return (
            f"the {what} of step {step} is not finite; {self._checkpoints.told()}. Train with a "
            "lower --lr, or with --dtype float32"
        )

    def _full(self, cause: object) -> str:
        why = getattr(cause, "strerror", cause)
        return (
            f"{self.file} cannot be written ({why}); {self._checkpoints.told()}: make room and run "
            "the same command again"
        )
