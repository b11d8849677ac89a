"""Differences from the baseline as a forest: a line each, zero in the middle, a scale a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.comparing.difference import Difference
from harness.reports.figures import nice_ticks
from harness.studies.report.matrix import better, sure
from harness.studies.report.view import View
from harness.studies.report.words import fixed, places, probability, signed, span

_SMALL, _LARGE = 1e-9, 1e12
"""Between these a scale has round numbers."""
_TESTS = {"bootstrap": "bootstrap", "mcnemar": "McNemar"}


@dataclass(frozen=True)
class Line:
    """A difference as it is shown; places along the scale are percentages, as text.

    ``kind`` is ``good``, ``bad`` or empty: real and for the better, real and for the worse.
    """

    run: str
    baseline: str
    values: tuple[str, str]
    difference: str
    span: str
    at: str
    ends: tuple[str, str] | None
    kind: str
    p_holm: str
    test: str
    documents: str
    units: str


@dataclass(frozen=True)
class Grove:
    """The differences on one task and metric, largest first.

    ``ticks`` are places and texts; the places are percentages.
    """

    task: str
    metric: str
    up: bool | None
    lines: Sequence[Line]
    ticks: Sequence[tuple[str, str]]


def forest(view: View) -> list[Grove]:
    """The study's differences from the baseline by task, in the study's order."""
    found: dict[tuple[str, str, str], list[Difference]] = {}
    for one in view.differences:
        if view.baseline is None or one.baseline == view.baseline:
            found.setdefault((one.task, one.metric, one.filter), []).append(one)
    names = {cell.evaluates or cell.task: cell.task for cell in view.cells}
    order = {task: place for place, task in enumerate(view.tasks)}

    def place(key: tuple[str, str, str]) -> tuple[bool, int]:
        task = names.get(key[0], key[0])
        return task != view.gain, order.get(task, len(order))

    keys = sorted(found, key=place)
    return [_grove(found[key]) for key in keys]


def uncompared(view: View) -> Mapping[tuple[str, str], Sequence[str]]:
    """Runs that were not compared, by task and reason.

    Where the other of the two is not the baseline, both are named.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in view.uncompared:
        name = one.run if one.baseline == view.baseline else f"{one.run} with {one.baseline}"
        found.setdefault((one.task, one.reason), []).append(name)
    return found


def _grove(found: Sequence[Difference]) -> Grove:
    ends = [end for one in found for end in (one.difference, one.low, one.high)]
    reach = max((abs(end) for end in ends if end is not None), default=0.0) or 1.0
    values = places(end for one in found for end in (one.value, one.baseline_value))
    digits = max(values, places([reach]) - 1)
    first = found[0]
    sign = 1 if first.higher_is_better is False else -1
    ordered = sorted(found, key=lambda one: sign * one.difference)
    drawn = nice_ticks(-reach, reach, 4) if _SMALL < reach < _LARGE else [0.0]
    ticks = [tick for tick in drawn if abs(tick) <= 1.001 * reach]
    metric = first.metric if first.filter == "none" else f"{first.metric} ({first.filter})"
    return Grove(
        task=first.task,
        metric=metric,
        up=first.higher_is_better,
        lines=[_line(one, reach, digits) for one in ordered],
        ticks=[(_at(tick, reach), _tick(tick)) for tick in ticks],
    )


def _tick(value: float) -> str:
    return f"{value:+g}".replace("-", "−") if abs(value) > 1e-12 else "0"


def _at(value: float, reach: float) -> str:
    """A place along the scale; a twentieth of it is left free at both ends.

    >>> _at(0.0, 2.0), _at(2.0, 2.0)
    ('50.00%', '95.00%')
    """
    return f"{50 + 45 * (value / reach):.2f}%"


def _units(count: int) -> str:
    return f"in {count:,} {'unit' if count == 1 else 'units'}"


def _line(one: Difference, reach: float, digits: int) -> Line:
    ends = None
    if one.low is not None and one.high is not None:
        ends = (_at(one.low, reach), _at(one.high, reach))
    good = better(one) if sure(one) else None
    values = places([one.value, one.baseline_value])
    return Line(
        run=one.run,
        baseline=one.baseline,
        values=(fixed(one.value, values), fixed(one.baseline_value, values)),
        difference=signed(one.difference, digits),
        span=span(one.low, one.high, digits, sign=True),
        at=_at(one.difference, reach),
        ends=ends,
        kind="" if good is None else "good" if good else "bad",
        p_holm=probability(one.p_holm),
        test="too few units"
        if one.p is None
        else f"{_TESTS.get(one.test, one.test)}, {probability(one.p)} alone",
        documents=f"{one.documents:,}",
        units="" if one.units == one.documents else _units(one.units),
    )
