"""What is exported: the tasks of some runs, each with its results, configuration and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.artefacts.reading import read_json
from harness.errors import DataError
from harness.judging import run_files
from harness.leaderboard import read_results
from harness.leaderboard.rows import Row, Run, Skipped, Table, TaskRun
from harness.reports.values import mapping
from harness.secrets import without_secrets
from harness.view.hiding import is_sensitive

NOT_SHOWN = "(not shown)"
"""What stands for a text of a sensitive task."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One task of one run.

    Attributes:
        run: The model, and how it was run.
        task: The task as it was run.
        rows: Its metrics.
        config: Its configuration, without secrets.
        settings: The run's, without secrets.
        documents: How many documents the results speak of; None if they do not say.
        samples: Where its samples lie; None where none were saved.
        hidden: Whether its texts stay out.
    """

    run: Run
    task: TaskRun
    rows: tuple[Row, ...]
    config: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    documents: int | None
    samples: Path | None
    hidden: bool

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.task

    @property
    def headline(self) -> Row:
        """The metric that the task is known by."""
        return next((row for row in self.rows if row.headline), self.rows[0])

    @property
    def metadata(self) -> dict[str, Any]:
        """What the task says of itself."""
        return mapping(self.config.get("metadata"))


@dataclass(frozen=True)
class Evaluations:
    """All that was read.

    Attributes:
        table: The leaderboard's table.
        tasks: Each task of each run; groups, which have no documents of their own, are left out.
    """

    table: Table
    tasks: tuple[Evaluated, ...]

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the tasks whose texts stay out."""
        return tuple(sorted({one.name for one in self.tasks if one.hidden}))

    def each(self) -> Iterator[Evaluated]:
        """The tasks, with a progress bar for a person who waits."""
        from tqdm import tqdm

        yield from tqdm(self.tasks, desc="exporting", unit="task", disable=None, delay=2)

    @property
    def without_samples(self) -> int:
        """How many tasks of runs have no samples."""
        return sum(one.samples is None for one in self.tasks)


def read(
    paths: Iterable[Path],
    *,
    show_text: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Evaluations:
    """Read runs.

    Args:
        paths: Results files, or folders that are searched at any depth.
        show_text: Whether texts of sensitive tasks are shown.
        on_skip: Called with each file that is left out.

    Raises:
        HarnessError: A path does not exist, or there are no results.
        DataError: A task's name leads out of its folder.
    """
    table = read_results(paths, on_skip=on_skip)
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if not row.task.group:
            rows.setdefault((row.run.run_id, row.task.task), []).append(row)
    saved: dict[str, dict[str, Any]] = {}
    tasks = []
    for own in rows.values():
        file = own[0].run.file
        if file not in saved:
            saved = {file: mapping(read_json(Path(file), DataError))}
        tasks.append(_evaluated(own, saved[file], show_text=show_text))
    return Evaluations(table, tuple(tasks))


def _evaluated(rows: list[Row], saved: dict[str, Any], *, show_text: bool) -> Evaluated:
    run, task = rows[0].run, rows[0].task
    config = mapping(mapping(saved.get("configs")).get(task.task))
    counts = mapping(mapping(saved.get("n-samples")).get(task.task))
    documents = counts.get("effective")
    samples = run_files.samples_file(Path(run.file), task.task)
    return Evaluated(
        run=run,
        task=task,
        rows=tuple(rows),
        config=mapping(without_secrets(config)),
        settings=mapping(without_secrets(mapping(saved.get("config")))),
        documents=documents if isinstance(documents, int) else None,
        samples=samples if samples.exists() else None,
        hidden=not show_text and is_sensitive(task.task, config),
    )


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "task"), counted(1200, "task")
    ('1 task', '1,200 tasks')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
