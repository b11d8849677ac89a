"""The page: one file that needs nothing but itself.

Everything that comes from files or from the study's YAML reaches it escaped, or as JSON that is put
on screen as text. A content security policy names the page's own script and style by hash; nothing
else may run or load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.artefacts.writing import replacing_text
from harness.reports.page import embedded_json, report_style, source, source_hash, template
from harness.studies.report.forest import forest, uncompared
from harness.studies.report.matrix import Entry, Matrix, better, matrix_of, sure
from harness.studies.report.payload import arrow, judge_of, limit_of, payload
from harness.studies.report.pictures import tradeoff_picture
from harness.studies.report.summary import Account, Answer, Spent, accounts, answers, times
from harness.studies.report.tradeoff import Tradeoff, tradeoff_of
from harness.studies.report.view import View
from harness.studies.report.words import (
    NONE,
    amount,
    fixed,
    places,
    probability,
    signed,
    span,
)

_ROOM = "harness.studies.report"
_WIDE, _NARROW = (680.0, 440.0), (340.0, 380.0)
FEW = 40
"""Differences that are all unfolded."""


def write_report(path: str | os.PathLike[str], view: View) -> None:
    """Write the page.

    Args:
        path: The file; it appears only when complete.
        view: What it shows.

    Raises:
        HarnessError: Results are of no cell of the study, or the file cannot be written; what was
            there before is untouched.
    """
    page = _render(view)
    with replacing_text(path) as file:
        file.write(page)


def _render(view: View) -> str:
    style, script = report_style(_ROOM), source(_ROOM, "report.js")
    matrix = matrix_of(view)
    groves = forest(view)
    tradeoff = tradeoff_of(view, matrix)
    found = accounts(view, matrix)
    return template(source(_ROOM, "report.html.j2")).render(
        view=view,
        title=view.title,
        about=_about(view, matrix),
        answers=[_answered(one, view) for one in answers(view, matrix)],
        data=embedded_json(payload(view, matrix)),
        groves=groves,
        uncompared=uncompared(view),
        n_lines=sum(len(grove.lines) for grove in groves),
        few=FEW,
        tradeoff=_traded(tradeoff, view) if isinstance(tradeoff, Tradeoff) else tradeoff,
        costs=_costs(found, tradeoff, _gains(view, matrix)),
        style=style,
        style_hash=source_hash(style),
        script=script,
        script_hash=source_hash(script),
        made=datetime.now(UTC),
    )


def _about(view: View, matrix: Matrix) -> dict[str, Any]:
    """The counts and versions of the first sentence."""
    runs = view.table.runs
    done = {entry.cell.name for entry in matrix.entries.values()}
    return {
        "runs": len(view.runs),
        "models": len({run.model for run in runs}),
        "tasks": len(view.tasks),
        "cells": len(view.cells),
        "done": len(done),
        "limits": _known(limit_of(entry.row) for entry in matrix.entries.values()),
        "limited": sum(bool(limit_of(entry.row)) for entry in matrix.entries.values()),
        "entries": len(matrix.entries),
        "versions": [
            f"{name} {', '.join(known)}"
            for name, known in (
                ("lm-eval", _known(run.lm_eval_version for run in runs)),
                ("paperharness", _known(run.harness_version for run in runs)),
                ("transformers", _known(run.transformers_version for run in runs)),
                ("torch", _known(run.torch_version for run in runs)),
            )
            if known
        ],
        "hardware": _known(run.hardware for run in runs),
    }


def _known(found: Any) -> list[str]:
    return sorted({one for one in found if one})


@dataclass(frozen=True)
class _Answered:
    """An answer as it is shown."""

    task: str
    metric: str
    judge: str
    run: str
    value: str
    span: str
    difference: str
    difference_span: str
    verdict: str
    kind: str
    tied: Sequence[str]
    cost: str
    ratio: str


def _answered(one: Answer, view: View) -> _Answered:
    row, difference = one.entry.row, one.entry.difference
    digits = places([row.value])
    good = None if difference is None or not sure(difference) else better(difference)
    return _Answered(
        task=one.column.label,
        metric=row.metric + arrow(one.column),
        judge=judge_of(row.contest),
        run=one.run,
        value=fixed(row.value, digits),
        span=span(row.ci95_low, row.ci95_high, digits),
        difference="" if difference is None else signed(difference.difference, digits),
        difference_span=""
        if difference is None
        else span(difference.low, difference.high, digits, sign=True),
        verdict=_verdict(one, view),
        kind="" if good is None else "good" if good else "bad",
        tied=one.tied,
        cost=amount(one.cost.seconds),
        ratio=_ratio(one),
    )


def _verdict(one: Answer, view: View) -> str:
    """Whether the best is really better than the baseline."""
    difference = one.entry.difference
    if one.run == view.baseline:
        return "the baseline" + (f"; {one.worse} of {one.compared} worse" if one.compared else "")
    if difference is None:
        return "not compared"
    if difference.p_holm is None:
        return "not tested, too few units"
    p = probability(difference.p_holm)
    told = f"p {p}" if p.startswith("<") else f"p = {p}"
    return f"{'yes' if sure(difference) else 'not shown'}, {told}"


def _ratio(one: Answer) -> str:
    base = one.base_cost
    if base is None or base is one.cost or not base.seconds or one.cost.seconds is None:
        return ""
    ratio = times([("", one.cost)], [("", base)])
    return f"{ratio:.2f} × the baseline’s an answer"


def _traded(found: Tradeoff, view: View) -> Mapping[str, Any]:
    """The trade-off as it is shown; the best on the axis of gains first."""
    digits = places(point.gain.value for point in found.points)
    sign = -1 if found.up else 1
    ordered = sorted(found.points, key=lambda point: sign * (point.gain.value or 0.0))
    pictures = [
        tradeoff_picture(found, view.baseline, name=name, width=width, height=height)
        for name, (width, height) in (("tradeoff", _WIDE), ("tradeoff-narrow", _NARROW))
    ]
    return {
        "found": found,
        "wide": pictures[0],
        "narrow": pictures[1],
        "points": [
            {
                "run": point.run,
                "front": point.front,
                "gain": fixed(point.gain.value, digits),
                "gain_span": span(point.gain.ci95_low, point.gain.ci95_high, digits),
                "kept": fixed(point.kept.value, 1),
                "kept_span": span(point.kept.low, point.kept.high, 1),
            }
            for point in ordered
        ],
    }


def _gains(view: View, matrix: Matrix) -> Mapping[str, Entry]:
    """Values on the task of gains, by run."""
    place = None if view.gain is None else matrix.place(view.gain)
    return {} if place is None else matrix.column(place)


def _costs(
    found: Sequence[Account], tradeoff: Tradeoff | str, gains: Mapping[str, Entry]
) -> list[Mapping[str, Any]]:
    """What runs cost beside what came of it."""
    points = {} if isinstance(tradeoff, str) else {p.run: p for p in tradeoff.points}
    values = {run: entry.row.value for run, entry in gains.items()}
    digits = places(values.values())
    lines: list[Mapping[str, Any]] = []
    for one in found:
        point = points.get(one.run)
        lines.append(
            {
                "run": one.run,
                "gain": fixed(values.get(one.run), digits),
                "kept": fixed(point.kept.value, 1) if point else NONE,
                "better": f"{one.better} of {one.compared}" if one.compared else NONE,
                "worse": f"{one.worse} of {one.compared}" if one.compared else NONE,
                "cells": one.cells,
                "seconds": _summed(one.seconds),
                "ratio": NONE if one.times is None else f"{one.times:.2f}",
                "tokens": _summed(one.tokens),
                "judge_calls": _summed(one.judge_calls),
            }
        )
    return lines


def _summed(spent: Spent) -> str:
    """A sum; at least so much where some cells do not say."""
    if not spent.value and not spent.whole:
        return NONE
    value = fixed(spent.value, 0) if isinstance(spent.value, int) else amount(spent.value)
    return value if spent.whole else f"≥ {value}"
