"""A run to be compared: rows of its results, and its samples when they are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.comparing.samples import Metric, Values, read_values
from harness.errors import DataError, HarnessError
from harness.judging import run_files
from harness.leaderboard.reading import read_results
from harness.leaderboard.rows import Contest, Row
from harness.leaderboard.tables import current_rows

_REASONS = {
    "version": "another version of the task",
    "data_source": "other data",
    "data_sha256": "other data",
    "split": "another split",
    "n_shot": "another number of shots",
    "judge": "another judge",
    "group": "a group in one run, a task in the other",
}


def unlike(one: Contest, other: Contest) -> str | None:
    """Why two values of a metric may not be compared; None if they may."""
    differing = (f.name for f in fields(Contest) if getattr(one, f.name) != getattr(other, f.name))
    return next((_REASONS.get(name, f"another {name}") for name in differing), None)


@dataclass
class ComparedRun:
    """One side of a comparison.

    Args:
        name: What it is called.
        rows: Its rows that count, by task, metric and filter.
    """

    name: str
    rows: Mapping[tuple[str, Metric], Sequence[Row]]
    _saved: dict[str, dict[str, Any]] = field(default_factory=dict)
    _values: dict[tuple[str, str], dict[Metric, Values]] = field(default_factory=dict)
    _damaged: dict[tuple[str, str], str] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> set[str]:
        """Names of its tasks and groups."""
        return {task for task, _ in self.rows}

    def like(self, row: Row) -> Row | str:
        """Its row that may be compared with one of another run; or why there is none."""
        own = self.rows.get((row.task.task, (row.metric, row.filter)))
        if own is None:
            if row.task.task not in self.tasks:
                return "the run does not have this task"
            return f"the run does not have {row.metric},{row.filter}"
        reasons = [unlike(one.contest, row.contest) for one in own]
        return own[reasons.index(None)] if None in reasons else str(reasons[0])

    def saved(self, row: Row) -> dict[str, Any]:
        """The results file that a row is of."""
        file = row.run.file
        if file not in self._saved:
            self._saved[file] = run_files.read_results(Path(file))
        return self._saved[file]

    def leaves(self, row: Row) -> list[str]:
        """The tasks in a group, at any depth; a task is its own only one."""
        children = self.saved(row).get("group_subtasks", {})
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [row.task.task]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            waiting += reversed(children.get(name) or [])
            if not children.get(name):
                found[name] = None
        return list(found)

    def config(self, row: Row) -> Mapping[str, Any]:
        """The configuration of a row's task."""
        found = self.saved(row)["configs"].get(row.task.task)
        return found if isinstance(found, dict) else {}

    def values(self, row: Row, metrics: Sequence[Metric]) -> Values | str:
        """Each document's value of a row's metric; or why there are none.

        Args:
            row: The row.
            metrics: All metrics that will be asked for: a file is read once.
        """
        key, own = (row.run.file, row.task.task), (row.metric, row.filter)
        if key in self._damaged:
            return self._damaged[key]
        if own not in self._values.get(key, ()):
            file = run_files.samples_file(Path(row.run.file), row.task.task)
            if not file.exists():
                return "its samples are not there: run lm_eval with --log_samples"
            counts = self.saved(row).get("n-samples", {}).get(row.task.task) or {}
            known = [one for one in metrics if (row.task.task, one) in self.rows]
            wanted = list(dict.fromkeys([own, *known]))
            try:
                self._values[key] = read_values(file, wanted, counts.get("effective"))
            except DataError as cause:
                self._damaged[key] = str(cause)
                return self._damaged[key]
        return self._values[key][own] or "its values per document are not in the samples"

    def forget(self) -> None:
        """Let go of the values that were read."""
        self._values.clear()


def read_run(
    name: str, paths: Sequence[Path], on_file: Callable[[int, int], None] | None = None
) -> ComparedRun:
    """Read a run's results.

    Args:
        name: What it is called.
        paths: Results files, or folders of them.
        on_file: As for ``read_results``.

    Raises:
        HarnessError: There are none, one is damaged, or they are of several models or methods.
    """
    table = read_results(paths, on_file=on_file)
    if table.skipped:
        raise DataError(f"{table.skipped[0].path}: {table.skipped[0].reason}")
    rows: dict[tuple[str, Metric], list[Row]] = defaultdict(list)
    held: dict[Contest, Row] = {}
    for row in current_rows(row for row in table.rows if not row.predicted):
        other = held.setdefault(row.contest, row)
        if other is not row:
            raise HarnessError(
                f"{name} holds results of {row.task.task} by several models or methods: "
                f"{other.run.file} and {row.run.file}; name one of these files"
            )
        rows[row.task.task, (row.metric, row.filter)].append(row)
    return ComparedRun(name, rows)
