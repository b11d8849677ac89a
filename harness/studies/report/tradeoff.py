r"""What a method gains on its own task against what it costs on general ones.

Of a general task with score s, baseline's score t and what guessing earns, c (0 where that is not
known), a run retains (as ``harness.leaderboard.relative`` has it)

    r = (s − c)/(t − c) = 1 + d/(t − c),   d = s − t.

Its interval is by the delta method, with what is known of the pairs. From σ_d, of the difference on
the same documents, follows Cov(d, t) = (σ_s² − σ_t² − σ_d²)/2, and

    Var(r) ≈ [σ_d² + (r − 1)² σ_t² − 2 (r − 1) Cov(d, t)]/(t − c)².

Without such a difference the two scores are taken as independent. What a run retains is the mean
over the general tasks, which share no documents: variances add. A task is left out for all runs if
less of it is better and what guessing earns is not known, or if the baseline is not better than
guessing by more than 1.96 standard errors; a run that lacks one of the tasks has no point. A method
may be measured on the general tasks by a run of its own, which refers to its cell on the task of
gains (``factors: "{steered/axbench_steer}"``): the two are one point.

The Pareto front: the runs that no other run betters on one axis without losing on the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.comparing.difference import Difference
from harness.leaderboard.rows import Row, Share
from harness.studies.report.matrix import Entry, Matrix, deviation
from harness.studies.report.view import View

_Z95 = 1.96
_LARGEST = 1e12
_BEYOND = "a value of it is too large to be drawn"


@dataclass(frozen=True)
class Point:
    """A run.

    Attributes:
        run: Its name.
        kept: What it retains, in percent.
        gain: The metric on the task of gains.
        front: Whether it is on the Pareto front.
    """

    run: str
    kept: Share
    gain: Row
    front: bool


@dataclass(frozen=True)
class Tradeoff:
    """The picture of gains against losses.

    Attributes:
        gain: The task of gains.
        metric: Its metric.
        up: Whether more of it is better.
        tasks: The general tasks behind what is retained.
        points: Runs, in the study's order.
        left_out: Sentences: which task or run is not in it, and why.
    """

    gain: str
    metric: str
    up: bool
    tasks: Sequence[str]
    points: Sequence[Point]
    left_out: Sequence[str]


def tradeoff_of(view: View, matrix: Matrix) -> Tradeoff | str:
    """The trade-off, or a sentence that says why there is none."""
    if view.gain is None or not view.retained:
        return "The study names no task of gains and no general tasks to set against it."
    if view.baseline is None:
        return "The study names no baseline, and so nothing that could be retained."
    place = matrix.place(view.gain)
    up = None if place is None else matrix.columns[place].up
    if place is None or up is None:
        return f"Of {view.gain} no run is done, or it is not known whether more of it is better."
    gains = matrix.column(place)
    columns, left_out = _general(view, matrix, view.baseline)
    found: list[tuple[str, Share, Row]] = []
    for run in view.runs if columns else ():
        if run in view.measured_by.values():
            continue  # it is in the picture under the name of the method that it measures
        other = view.measured_by.get(run, run)
        if lacking := _lacking(run, other, view, gains, columns):
            left_out.append(f"{run} is left out: it has no value on {lacking}.")
        else:
            found.append((run, _kept(other, view.baseline, columns), gains[run].row))
    left_out += [f"{run} is left out: {_BEYOND}." for run, kept, row in found if beyond(kept, row)]
    found = [one for one in found if not beyond(*one[1:])]
    if not found:
        return " ".join(left_out)
    sign = 1 if up else -1
    on = front([(kept.value, sign * (row.value or 0.0)) for _, kept, row in found])
    points = [Point(*one, there) for one, there in zip(found, on, strict=True)]
    return Tradeoff(view.gain, found[0][2].metric, up, list(columns), points, left_out)


def _kept(run: str, baseline: str, columns: Mapping[str, Mapping[str, Entry]]) -> Share:
    """The mean over the general tasks."""
    return mean(
        [
            kept_share(own[run].row, own[baseline].row, own[run].difference)
            for own in columns.values()
        ]
    )


def _general(
    view: View, matrix: Matrix, baseline: str
) -> tuple[dict[str, dict[str, Entry]], list[str]]:
    """The columns of the general tasks that something can be retained of, and what was left out."""
    columns: dict[str, dict[str, Entry]] = {}
    left_out: list[str] = []
    for task in view.retained:
        place = matrix.place(task)
        own = matrix.column(place) if place is not None else {}
        if baseline not in own:
            left_out.append(f"{task} is left out: the baseline, {baseline}, is not done on it.")
        elif why := _nothing_to_lose(own[baseline].row):
            left_out.append(f"{task} is left out: {why}.")
        else:
            columns[task] = own
    return columns, left_out


def _nothing_to_lose(base: Row) -> str:
    """Why the baseline has nothing on a task that could be retained; empty where it has."""
    if base.value is None or base.higher_is_better is None:
        return "the baseline has no value on it, or no direction is known"
    if not base.higher_is_better and base.chance is None:
        return "less of it is better"
    noise = deviation(base)
    if beyond(base):
        return _BEYOND
    if noise is None:
        return "the baseline's value on it has no interval"
    sign = 1 if base.higher_is_better else -1
    above = sign * (base.value - (base.chance or 0.0))
    return "" if above > _Z95 * noise else "the baseline is not shown to be better than guessing"


def _lacking(
    run: str,
    other: str,
    view: View,
    gains: Mapping[str, Entry],
    columns: Mapping[str, Mapping[str, Entry]],
) -> str:
    """The tasks without a value that can be set against the baseline's, as text.

    Args:
        run: The run with the gain.
        other: The run on the general tasks.
        view: The study.
        gains: Values on the task of gains.
        columns: Values on the general tasks.
    """
    found = [str(view.gain)] if run not in gains or gains[run].row.value is None else []
    for task, own in columns.items():
        if other not in own or own[other].row.value is None or beyond(own[other].row):
            found.append(task)
        elif _data(own[other].row) != _data(own[str(view.baseline)].row):
            found.append(f"as much of {task} as the baseline")
    return ", ".join(found)


def beyond(*found: Row | Share) -> bool:
    """Whether a value, or an end of an interval, is none that a picture or a square can hold."""
    values: list[float | None] = []
    for one in found:
        if isinstance(one, Share):
            values += [one.value, one.low, one.high]
        else:
            values += [one.value, one.stderr, one.ci95_low, one.ci95_high, one.chance]
    return not all(value is None or abs(value) < _LARGEST for value in values)


def _data(row: Row) -> int | None:
    """How much of the data a row is of; None for all."""
    return row.n if row.task.limited else None


def kept_share(row: Row, base: Row, difference: Difference | None) -> Share:
    """What a run retains of the baseline's score above chance, in percent.

    Args:
        row: The run's score.
        base: The baseline's, better than chance.
        difference: Between the two, on the same documents.
    """
    assert row.value is not None and base.value is not None, "the task was asked before"
    chance = base.chance or 0.0
    gap = base.value - chance
    share = (row.value - chance) / gap
    own, of_base = deviation(row), deviation(base)
    if row is base or own is None or of_base is None:
        return Share(100 * share)
    paired = None if difference is None else _spread(difference)
    spread = math.hypot(own, of_base) if paired is None else paired
    with_base = (own**2 - of_base**2 - spread**2) / 2
    variance = spread**2 + ((share - 1) * of_base) ** 2 - 2 * (share - 1) * with_base
    half = _Z95 * math.sqrt(max(variance, 0.0)) / abs(gap)
    return Share(100 * share, 100 * (share - half), 100 * (share + half))


def _spread(difference: Difference) -> float | None:
    """The standard error that a difference's interval comes to; 0 where all documents agree."""
    if difference.low is None or difference.high is None:
        return 0.0 if difference.difference == 0 and difference.p == 1 else None
    spread = (difference.high - difference.low) / (2 * _Z95)
    return spread if 0 <= spread < _LARGEST else None


def mean(shares: Sequence[Share]) -> Share:
    """The mean of independent shares; without an interval where one of them has none.

    >>> mean([Share(80.0, 77.0, 83.0), Share(100.0, 96.0, 104.0)])
    Share(value=90.0, low=87.5, high=92.5)
    """
    value = math.fsum(share.value for share in shares) / len(shares)
    halves = [(s.high - s.low) / 2 for s in shares if s.low is not None and s.high is not None]
    if len(halves) < len(shares):
        return Share(value)
    half = math.hypot(*halves) / len(shares)
    return Share(value, value - half, value + half)


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the Pareto front, more being better on both axes.

    A point is dominated by one that is as good on both axes and better on one; equal points
    dominate each other not.

    >>> front([(1.0, 3.0), (2.0, 2.0), (1.0, 2.0), (2.0, 2.0)])
    [True, True, False, True]
    """
    return [not any(_dominates(other, one) for other in points) for one in points]


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]
