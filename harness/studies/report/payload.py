"""The matrix as the page's script gets it: numbers to sort and draw by, texts to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.comparing.difference import Difference
from harness.leaderboard.rows import Contest, Row
from harness.reports.sample_links import address
from harness.reports.values import number, printable
from harness.studies.report.columns import Column
from harness.studies.report.matrix import Entry, Matrix, better, sure
from harness.studies.report.view import Cost, StudyCell, View
from harness.studies.report.words import amount, fixed, places, probability, signed, span

LONGEST = 400
"""Characters of a setting that is shown."""


def payload(view: View, matrix: Matrix) -> dict[str, Any]:
    """All that the matrix shows: columns, runs and cells once each, entries as short objects."""
    cells = {cell.name: number for number, cell in enumerate(view.cells)}
    runs = {run: number for number, run in enumerate(view.runs)}
    digits = [_digits(matrix, place) for place in range(len(matrix.columns))]
    alike = len({limit_of(entry.row) for entry in matrix.entries.values()}) == 1
    entries = [
        {"run": runs[run], "column": place, "cell": cells[entry.cell.name]}
        | _entry(entry, digits[place], "" if alike else limit_of(entry.row))
        | _samples(entry.row, view)
        for (run, place), entry in matrix.entries.items()
    ]
    return {
        "columns": [_column(matrix, place) for place in range(len(matrix.columns))],
        "runs": [_run(run, view, matrix) for run in view.runs],
        "cells": [_cell(cell, view) for cell in view.cells],
        "entries": entries,
        "absent": [
            [runs[run], place, cells[cell.name], state]
            for (run, place), (cell, state) in matrix.absent.items()
        ],
    }


def arrow(column: Column) -> str:
    """The direction of a column's metric."""
    return "" if column.up is None else " ↑" if column.up else " ↓"


def about(column: Column) -> str:
    """What a column's values are of: data, split, shots, filter."""
    contest = column.contest
    if contest is None:
        return ""
    parts = [
        contest.data_source,
        contest.split,
        "" if contest.n_shot is None else f"{contest.n_shot}-shot",
        "" if contest.filter == "none" else contest.filter,
    ]
    return " · ".join(printable(part) for part in parts if part)


def judge_of(contest: Contest) -> str:
    """Who judged, fit for a page."""
    return printable(contest.judge_name)[:LONGEST]


def settings_of(row: Row) -> str:
    """The model of a run and what is done to it."""
    run = row.run
    model = run.model.rstrip("/").rpartition("/")[2] or run.model
    parts = [model, run.label or run.model_type]
    return printable(" · ".join(part for part in parts if part))[:LONGEST]


def _digits(matrix: Matrix, place: int) -> int:
    return places(entry.row.value for entry in matrix.column(place).values())


def _column(matrix: Matrix, place: int) -> dict[str, Any]:
    column = matrix.columns[place]
    own = [entry.row for entry in matrix.column(place).values()]
    ends = [end for row in own for end in (row.value, row.ci95_low, row.ci95_high)]
    known = [end for end in ends if end is not None]
    return {
        "label": column.label,
        "metric": (column.contest.metric if column.contest else "") + arrow(column),
        "about": about(column),
        "judge": judge_of(column.contest) if column.contest else "",
        "up": column.up,
        "head": column.head,
        "low": min(known, default=None),
        "high": max(known, default=None),
    }


def _run(run: str, view: View, matrix: Matrix) -> dict[str, Any]:
    rows = [entry.row for (name, _), entry in matrix.entries.items() if name == run]
    acting = [row for row in rows if row.run.method] or rows
    return {
        "name": run,
        "about": settings_of(acting[0]) if acting else "",
        "baseline": run == view.baseline,
    }


def _entry(entry: Entry, digits: int, limit: str) -> dict[str, Any]:
    row = entry.row
    found: dict[str, Any] = {
        "value": row.value,
        "low": row.ci95_low,
        "high": row.ci95_high,
        "text": fixed(row.value, digits),
        "best": entry.best,
        "limited": limit,
        "metrics": [_metric(one) for one in entry.others],
        "n": amount(row.n) if row.n is None else f"{row.n:,}",
        "unscored": None if not row.n_unscored else f"{row.n_unscored:,}",
    }
    if entry.difference is not None:
        found["difference"] = _difference(entry.difference, digits)
    return found


def _samples(row: Row, view: View) -> dict[str, Any]:
    """Where the samples behind a value can be read."""
    if not view.samples:
        return {}
    task = "" if row.task.group else row.task.task
    return {"samples": address(view.samples, task=task, run=row.run.run_id)}


def limit_of(row: Row) -> str:
    """How much of the data a result is of; empty for all."""
    if not row.task.limited:
        return ""
    return "part of the data" if row.run.limit is None else f"limit {row.run.limit}"


def _metric(row: Row) -> list[str]:
    digits = places([row.value])
    name = row.metric if row.filter == "none" else f"{row.metric} ({row.filter})"
    return [name, fixed(row.value, digits), span(row.ci95_low, row.ci95_high, digits)]


def _difference(found: Difference, digits: int) -> dict[str, Any]:
    good = better(found)
    return {
        "text": signed(number(found.difference), digits),
        "span": span(found.low, found.high, digits, sign=True),
        "good": good,
        "sure": sure(found),
        "p": probability(found.p_holm),
        "documents": f"{found.documents:,}",
    }


def _cell(cell: StudyCell, view: View) -> dict[str, Any]:
    cost = view.costs.get(cell.name, Cost())
    failure = next((one for one in view.failed if one.name == cell.name), None)
    return {
        "name": cell.name,
        "command": cell.command,
        "costs": costs(cost),
        "failure": None if failure is None else [failure.line, failure.log],
    }


def costs(cost: Cost) -> Sequence[str]:
    """Seconds, tokens and judge calls as texts."""
    counts = (cost.tokens, cost.judge_calls)
    return [amount(cost.seconds), *(fixed(count, 0) for count in counts)]
