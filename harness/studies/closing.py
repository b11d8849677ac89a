"""The end of a study: of its finished cells one leaderboard, comparisons and the report."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness._version import __version__
from harness.comparing import Comparisons, compare
from harness.comparing import write_csv as write_comparisons
from harness.errors import ArtefactError, HarnessError
from harness.judging.run_files import read_results as read_document
from harness.judging.run_files import read_samples, results_file, samples_file
from harness.leaderboard import Row, Table, read_results, write_csv, write_html, write_wide
from harness.studies.planning.plan import Plan, by_hand
from harness.studies.report import Failure, StudyCell, View, costs_of, write_report
from harness.studies.report.places import Places
from harness.studies.running import failure
from harness.studies.units import Cell
from harness.view import key_of, write_view


@dataclass(frozen=True)
class Closed:
    """What a study has come to.

    Args:
        table: All results of its finished cells.
        headlines: The headline rows of each cell by its name; of a tag several.
        compared: Differences from the baseline; None where there is none, or nothing of it is done.
        files: What was written, last the report.
        samples: The page with the samples; None where none are saved.
        damaged: A line on each finished cell whose files cannot be read; nothing else holds them.
    """

    table: Table
    headlines: Mapping[str, Sequence[Row]]
    compared: Comparisons | None
    files: Sequence[Path]
    samples: Path | None = None
    damaged: Sequence[str] = ()


def close(plan: Plan) -> Closed | None:
    """Write the leaderboard, the comparisons and the report of a plan's finished cells.

    Returns:
        What was found; None where no cell is finished.

    Raises:
        HarnessError: All finished cells are damaged, or a file cannot be written.
    """
    damaged = {cell.name: said for cell in plan.cells if cell.done and (said := _damage(cell))}
    cells = [cell for cell in plan.cells if cell.done and cell.name not in damaged]
    if not cells and damaged:
        raise ArtefactError(next(iter(damaged.values())))
    if not cells:
        return None
    out = plan.study.out
    table = read_results([cell.folder for cell in cells])
    files = [out / name for name in ("leaderboard.csv", "leaderboard_wide.csv", "leaderboard.html")]
    write_csv(table, files[0])
    write_wide(table, files[1])
    samples = _samples(plan, table, cells)
    pages = samples.parent if samples else None
    write_html(table, files[2], title=plan.study.name, view=pages)
    if compared := _compared(plan, cells):
        files.append(out / "comparisons.csv")
        write_comparisons(compared, files[-1])
    files.append(out / "report.html")
    folder = pages.name if pages else ""
    write_report(files[-1], replace(_view(plan, table, compared, damaged), samples=folder))
    headlines = _headlines(table, cells)
    return Closed(table, headlines, compared, files, samples, list(damaged.values()))


def _samples(plan: Plan, table: Table, cells: Sequence[Cell]) -> Path | None:
    """Write the samples of finished cells as pages, unless that was done; None where none is saved.

    Raises:
        HarnessError: The folder holds something else, or cannot be written.
    """
    places = Places(map(_shown, cells))
    names = {os.path.realpath(run.file): places.cell(run.file).run for run in table.runs}
    if not any(next(cell.folder.rglob("samples_*.jsonl"), None) for cell in cells):
        return None
    made_of = [__version__, plan.study.name]
    made_of += sorted(f"{run.run_id} {names[os.path.realpath(run.file)]}" for run in table.runs)
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    out = plan.study.out / "view"
    if key_of(out) != key:
        folders = [cell.folder for cell in cells]
        write_view(folders, out, title=plan.study.name, names=names, key=key)
    return out / "index.html"


def _damage(cell: Cell) -> str | None:
    """What is wrong with a finished cell's files, and what to do; None if nothing is."""
    try:
        file = results_file(cell.folder)
        saved = read_document(file)
        for task in saved["configs"]:
            if samples_file(file, task).exists():
                read_samples(file, saved, task)
    except HarnessError as cause:
        return f"{cell.name}: {cause}; remove {cell.folder} and run the study again"
    return None


def _compared(plan: Plan, cells: Sequence[Cell]) -> Comparisons | None:
    """Differences of all variants from the baseline, as far as their cells are done."""
    runs = {run: [cell.folder for cell in cells if cell.run == run] for run in plan.variants}
    done = {run: folders for run, folders in runs.items() if folders}
    baseline = plan.study.baseline
    return compare(done, baseline) if baseline in done else None


def _view(
    plan: Plan, table: Table, compared: Comparisons | None, damaged: Mapping[str, str]
) -> View:
    """The study as its report shows it."""
    cells = [_shown(cell) for cell in plan.cells]
    failed = {unit.name: (found.error, unit) for unit in plan.units if (found := failure(unit))}
    failed |= {cell.name: (damaged[cell.name], cell) for cell in plan.cells if cell.name in damaged}
    return View(
        title=plan.study.name,
        table=table,
        cells=cells,
        runs=plan.variants,
        tasks=[task.name for task in plan.study.tasks],
        baseline=plan.study.baseline,
        differences=compared.differences if compared else (),
        uncompared=compared.uncompared if compared else (),
        gain=plan.study.gain,
        retained=plan.study.retained,
        measured_by=_measured_by(plan),
        failed=[
            Failure(name=name, line=said, log=str(unit.log))
            for name, (said, unit) in failed.items()
        ],
        missing=[unit.name for unit in plan.to_do() if unit.name not in failed],
        costs=costs_of(cells, table),
    )


def _measured_by(plan: Plan) -> dict[str, str]:
    """By run with the task of gains the run that takes factors from it, and lacks that task."""
    gains = {cell.name: cell.run for cell in plan.cells if _task(cell) == plan.study.gain}
    own = set(gains.values())
    return {
        gains[need]: cell.run
        for cell in plan.cells
        if cell.run not in own and _task(cell) in plan.study.retained
        for need in cell.needs
        if need in gains
    }


def _task(cell: Cell) -> str:
    """The task of a cell, as the study names it."""
    return cell.name.partition("/")[2]


def _shown(cell: Cell) -> StudyCell:
    return StudyCell(
        name=cell.name,
        run=cell.run,
        task=_task(cell),
        folder=cell.folder,
        command=by_hand(cell),
        evaluates=cell.task,
    )


def _headlines(table: Table, cells: Sequence[Cell]) -> dict[str, list[Row]]:
    """The headline rows of each cell: those of its task or group, else of all tasks in it."""
    places = Places(map(_shown, cells))
    headlines: dict[str, list[Row]] = {cell.name: [] for cell in cells}
    for row in table.rows:
        if row.headline:
            headlines[places.cell(row.run.file).name].append(row)
    return {
        cell.name: [row for row in headlines[cell.name] if row.task.task == cell.task]
        or headlines[cell.name]
        for cell in cells
    }
