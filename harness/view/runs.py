"""Runs whose samples are shown: what they are called, their files, their headline metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.artefacts.reading import loads
from harness.errors import DataError, HarnessError
from harness.judging import run_files
from harness.leaderboard import Table
from harness.leaderboard.rows import Run
from harness.leaderboard.titles import titles
from harness.reports.values import mapping, printable, text
from harness.view.facts import Headline
from harness.view.hiding import is_sensitive

_SHORT = 32
"""Characters of a setting that is part of a name."""


@dataclass(frozen=True)
class SamplesFile:
    """The samples of one task of one run.

    Args:
        task: The task.
        path: The file.
        headline: The task's headline metric; None where the results have none.
        hidden: Whether its texts stay out unless a person asks for them.
        size: Bytes.
        documents: How many documents the results speak of; None if they do not say.
    """

    task: str
    path: Path
    headline: Headline | None
    hidden: bool
    size: int
    documents: int | None


@dataclass(frozen=True)
class ShownRun:
    """A run: one results file, or several of the same model and method on other tasks.

    Args:
        ids: The ids of its results files, as the leaderboard has them.
        name: What it is called.
        about: The model and what is done to it.
        files: Its samples.
        missing: Tasks without a file of samples.
        refused: Why a file of samples is not read.
    """

    ids: Sequence[str]
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
    together = _together(table, names)
    called = _names([own[0] for own in together], names)
    found = [_run(own, called[own[0].run_id], table) for own in together]
    if not any(one.files for one in found):
        reasons = [reason for one in found for reason in one.refused]
        raise HarnessError(
            f"no samples beside {table.runs[0].file}"
            + (f" ({reasons[0]})" if reasons else "")
            + ": run lm_eval with --log_samples --output_path FOLDER, then give that folder"
        )
    return found


def _together(table: Table, names: Mapping[str, str]) -> list[list[Run]]:
    """Results files that are one run: alike in all but their tasks, of which none is repeated."""
    tasks: dict[str, set[str]] = {}
    for row in table.rows:
        tasks.setdefault(row.run.run_id, set()).add(row.task.task)
    found: dict[tuple[str, ...], list[list[Run]]] = {}
    for run in table.runs:
        given = names.get(os.path.realpath(run.file))
        groups = found.setdefault(run.variant if given is None else (given,), [])
        for own in groups:
            if not any(tasks[run.run_id] & tasks[other.run_id] for other in own):
                own.append(run)
                break
        else:
            groups.append([run])
    together = [own for groups in found.values() for own in groups]
    return sorted(together, key=lambda own: bool(own[0].method))  # baselines first


def _run(own: Sequence[Run], name: str, table: Table) -> ShownRun:
    files: list[SamplesFile] = []
    refused: list[str] = []
    missing = 0
    for run in own:
        try:
            saved = run_files.read_results(Path(run.file))
        except DataError as cause:
            refused.append(str(cause))
            continue
        headlines = {
            row.task.task: Headline(row.metric, row.filter, row.higher_is_better)
            for row in reversed(table.rows)
            if row.run.run_id == run.run_id and row.headline
        }
        for task, config in saved["configs"].items():
            path = run_files.samples_file(Path(run.file), task)
            if not path.is_file():
                missing += 1
                continue
            hidden = is_sensitive(task, mapping(config))
            size = path.stat().st_size
            count = mapping(mapping(saved.get("n-samples")).get(task)).get("effective")
            known = count if isinstance(count, int) else None
            files.append(SamplesFile(task, path, headlines.get(task), hidden, size, known))
    ids = [run.run_id for run in own]
    return ShownRun(ids, name, _about(own[0]), files, missing, refused)


def _names(runs: Sequence[Run], given: Mapping[str, str]) -> dict[str, str]:
    """A name for each run; what is alike is told apart by what differs, at last by the date."""
    own = {run.run_id: given.get(os.path.realpath(run.file)) for run in runs}
    found = {key: own[key] or name for key, name in titles(runs).items()}
    for more in (_own_dates, lambda alike: {run.run_id: run.run_id for run in alike}):
        groups: dict[str, list[Run]] = {}
        for run in runs:
            groups.setdefault(found[run.run_id], []).append(run)
        for name, alike in groups.items():
            if len(alike) > 1:
                found |= {key: f"{name} · {one}" for key, one in more(alike).items()}
    return {key: printable(name)[:200] for key, name in found.items()}


def _own_dates(alike: Sequence[Run]) -> dict[str, str]:
    return {run.run_id: run.date.replace("T", " ").removesuffix("Z") for run in alike}


def _settings(encoded: str) -> Iterator[str]:
    try:
        values = mapping(loads(encoded)) if encoded else {}
    except ValueError:
        values = {}
    for key, value in values.items():
        shown = Path(value).name if isinstance(value, str) and value.startswith("/") else value
        if not isinstance(shown, (dict, list)) and len(str(shown)) <= _SHORT:
            yield f"{text(key)} {text(shown)}"


def _about(run: Run) -> str:
    parts = [
        run.model,
        run.label or run.model_type,
        ", ".join(_settings(run.method_args)),
        run.date,
    ]
    return printable(" · ".join(part for part in parts if part))[:400]
