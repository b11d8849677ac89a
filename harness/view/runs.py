"""Runs whose samples are shown: what they are called, their files, their headline metrics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.artefacts.reading import loads
from harness.errors import DataError, HarnessError
from harness.judging import run_files
from harness.leaderboard import Table
from harness.leaderboard.rows import Run
from harness.reports.values import mapping, printable, text
from harness.view.facts import Headline
from harness.view.hiding import is_hidden


@dataclass(frozen=True)
class SamplesFile:
    """The samples of one task of one run.

    Args:
        task: The task.
        path: The file.
        headline: The task's headline metric; None where the results have none.
        hidden: Whether its texts stay out unless a person asks for them.
        size: Bytes.
    """

    task: str
    path: Path
    headline: Headline | None
    hidden: bool
    size: int


@dataclass(frozen=True)
class ShownRun:
    """A run.

    Args:
        run: As the leaderboard knows it.
        name: What it is called.
        about: The model and what is done to it.
        files: Its samples.
        missing: Tasks without a file of samples.
        refused: Why a file of samples is not read.
    """

    run: Run
    name: str
    about: str
    files: Sequence[SamplesFile]
    missing: int = 0
    refused: Sequence[str] = field(default=())


def runs_of(table: Table, names: Mapping[str, str]) -> list[ShownRun]:
    """The runs of a table that have samples.

    Args:
        table: What ``read_results`` returned.
        names: Names of runs by the real path of their results file; others are called by model and
            method.

    Raises:
        HarnessError: There are no samples.
    """
    called = _names(table.runs, names)
    found = [_run(run, called[run.run_id], table) for run in table.runs]
    if not any(one.files for one in found):
        reasons = [reason for one in found for reason in one.refused]
        raise HarnessError(
            f"no samples beside {table.runs[0].file}"
            + (f" ({reasons[0]})" if reasons else "")
            + ": run lm_eval with --log_samples --output_path FOLDER, then give that folder"
        )
    return found


def _run(run: Run, name: str, table: Table) -> ShownRun:
    results = Path(run.file)
    refused: list[str] = []
    files: list[SamplesFile] = []
    missing = 0
    try:
        configs = run_files.read_results(results)["configs"]
    except DataError as cause:
        return ShownRun(run, name, _about(run), (), refused=[str(cause)])
    headlines = {
        row.task.task: Headline(row.metric, row.filter, row.higher_is_better)
        for row in reversed(table.rows)
        if row.run.run_id == run.run_id and row.headline
    }
    for task, config in configs.items():
        try:
            path = run_files.samples_file(results, task)
            size = path.stat().st_size
        except DataError as cause:
            refused.append(str(cause))
        except OSError:
            missing += 1
        else:
            hidden = is_hidden(task, mapping(config))
            files.append(SamplesFile(task, path, headlines.get(task), hidden, size))
    return ShownRun(run, name, _about(run), files, missing, refused)


def _names(runs: Sequence[Run], given: Mapping[str, str]) -> dict[str, str]:
    """A name for each run; what is alike is told apart by what differs, at last by the date."""
    found = {run.run_id: given.get(os.path.realpath(run.file)) or _plain(run) for run in runs}
    for more in (_own_args, _own_dates, lambda alike: {run.run_id: run.run_id for run in alike}):
        groups: dict[str, list[Run]] = {}
        for run in runs:
            groups.setdefault(found[run.run_id], []).append(run)
        for name, alike in groups.items():
            if len(alike) > 1:
                added = more(alike)
                found |= {key: f"{name} · {one}" if one else name for key, one in added.items()}
    return {key: printable(name)[:200] for key, name in found.items()}


def _own_args(alike: Sequence[Run]) -> dict[str, str]:
    """By run the settings of its method, and of its model, in which some differ."""
    all_ = {run.run_id: [*_settings(run.method_args), *_settings(run.model_args)] for run in alike}
    often = Counter(one for settings in all_.values() for one in dict.fromkeys(settings))
    return {
        key: ", ".join(dict.fromkeys(one for one in settings if often[one] < len(alike)))[:80]
        for key, settings in all_.items()
    }


def _own_dates(alike: Sequence[Run]) -> dict[str, str]:
    return {run.run_id: run.date.replace("T", " ").removesuffix("Z") for run in alike}


def _plain(run: Run) -> str:
    model = Path(run.model).name if run.model.startswith("/") else run.model
    return f"{model} {run.method}" if run.method else model


def _settings(encoded: str) -> Iterator[str]:
    try:
        values = mapping(loads(encoded)) if encoded else {}
    except ValueError:
        values = {}
    for key, value in values.items():
        shown = Path(value).name if isinstance(value, str) and value.startswith("/") else value
        if not isinstance(shown, (dict, list)):
            yield f"{text(key)} {text(shown)}"


def _about(run: Run) -> str:
    parts = [
        run.model,
        run.method or run.model_type,
        ", ".join(_settings(run.method_args)),
        run.date,
    ]
    return printable(" · ".join(part for part in parts if part))[:400]
