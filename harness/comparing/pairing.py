"""Two rows of two runs, brought together by document or by resampling unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.comparing.aggregations import Resampled, statistic_of
from harness.comparing.runs import ComparedRun
from harness.comparing.samples import Metric, Values
from harness.leaderboard.rows import Row
from harness.statistics import Pair, Stratified, pair

Side = tuple[ComparedRun, Row]
_CLOSE = 1e-5


@dataclass(frozen=True)
class Matched:
    """Two rows on what both have.

    Args:
        pair: The statistic of both.
        documents: As in ``Difference``.
        left_out: As in ``Difference``.
    """

    pair: Pair
    documents: int
    left_out: int


def matched(ours: Side, theirs: Side, metrics: Sequence[Metric]) -> Matched | str:
    """Two rows of one task by document, or by unit where a method's rows may differ.

    Args:
        ours: The baseline, and its row.
        theirs: The other run, and its row.
        metrics: All metrics that will be asked for.

    Returns:
        What both have; or why they cannot be compared.

    Raises:
        DataError: Samples are damaged.
    """
    found: list[tuple[Values, Resampled]] = []
    for run, row in (ours, theirs):
        made = _made(run, row, metrics)
        if isinstance(made, str):
            return f"{run.name}: {made}"
        found.append(made)
    (first, statistic), (second, other) = found
    if statistic is not other:
        return "its value is made in another way"
    partial = ours[1].task.limited or theirs[1].task.limited or not ours[1].task.data_sha256
    return _together(statistic, first, second, partial=partial)


def _made(run: ComparedRun, row: Row, metrics: Sequence[Metric]) -> tuple[Values, Resampled] | str:
    """The documents' values of a row and how its value is made of them; or why that is unknown."""
    if row.value is None:
        return "it has no value"
    values = run.values(row, metrics)
    if isinstance(values, str):
        return values
    items = list(values.values())
    value, where = float(row.value), row.run.file
    of = row.task.task, row.metric, run.config(row), items
    statistic = statistic_of(*of, value=value, where=where)
    return statistic if isinstance(statistic, str) else (values, statistic)


def _together(
    statistic: Resampled, first: Values, second: Values, *, partial: bool
) -> Matched | str:
    """The statistic of the documents of both.

    Args:
        statistic: How values of documents make a value.
        first: The baseline's values.
        second: The other run's.
        partial: Whether a run may have only some of the documents of a unit. Where not, and units
            have names, a unit counts with all that each run has of it.
    """
    common = [document for document in first if document in second]
    parts = [statistic.parts(list(values.values())) for values in (first, second)]
    names = [one.units for one in parts if one.units is not None]
    every = len(set().union(*names)) if names else len(first.keys() | second.keys())
    documents = len(common)
    if partial or not names:
        chosen = [[values[document] for document in common] for values in (first, second)]
        parts = [statistic.parts(items) for items in chosen]
    else:
        documents = documents or min(len(first), len(second))
    if not documents:
        return "no common documents"
    found = pair(parts[0], parts[1], documents)
    if not found.units:
        return "no common documents with a value"
    if not (math.isfinite(found.baseline_value) and math.isfinite(found.value)):
        return "it has no value on the documents of both"
    return Matched(found, documents, every - found.units)


def of_group(
    ours: Row, theirs: Row, leaves: Sequence[tuple[Side, Side]], metrics: Sequence[Metric]
) -> Matched | str:
    """A group of both runs as the mean of its tasks, each of which is resampled by itself.

    Args:
        ours: The group's row of the baseline.
        theirs: That of the other run.
        leaves: The rows of its tasks, of both.
        metrics: All metrics that will be asked for.

    Raises:
        DataError: Samples are damaged.
    """
    found: list[Matched] = []
    for one, other in leaves:
        made = matched(one, other, metrics)
        if isinstance(made, str):
            return f"{one[1].task.task}: {made}"
        found.append(made)
    rows = [row for (_, row), _ in leaves], [row for _, (_, row) in leaves]
    equal, sizes = [1.0] * len(found), [float(one.documents) for one in found]
    if _is_mean(ours, rows[0], by_size=False) and _is_mean(theirs, rows[1], by_size=False):
        weights = equal
    elif _is_mean(ours, rows[0], by_size=True) and _is_mean(theirs, rows[1], by_size=True):
        weights = sizes
    else:
        return "its value is no mean of its tasks' values"
    shares = [weight / sum(weights) for weight in weights]
    return Matched(
        Stratified([one.pair for one in found], shares),
        sum(one.documents for one in found),
        sum(one.left_out for one in found),
    )


def _is_mean(group: Row, leaves: Sequence[Row], *, by_size: bool) -> bool:
    """Whether a group's value is the mean of its tasks' values."""
    weights = [float(leaf.n or 0) if by_size else 1.0 for leaf in leaves]
    values = [float(leaf.value) for leaf in leaves if leaf.value is not None]
    if group.value is None or len(values) < len(leaves) or not sum(weights):
        return False
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    return math.isclose(mean, group.value, rel_tol=_CLOSE, abs_tol=_CLOSE)
