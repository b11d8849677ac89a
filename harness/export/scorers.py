"""Metrics by what they are computed of: a scorer gives each document a value, metrics sum it up.

lm-eval stores with each metric the value that it aggregates. Metrics of one scorer have the same:
all of a steering task's read ``{"concept": 2, "fluency": 1, …}`` of each document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.export.samples import Answer
from harness.leaderboard.rows import Row


@dataclass(frozen=True)
class Scorer:
    """What gives a value to each document.

    Attributes:
        name: Its first metric's; with the filter, where there is one.
        filter: lm-eval's filter.
        metrics: The metrics that sum its values up.
    """

    name: str
    filter: str
    metrics: tuple[str, ...]


def named(metric: str, filter_name: str) -> str:
    """A metric's name among those of all filters, as lm-eval writes it."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def scorers_of(rows: Sequence[Row], answers: Iterable[Answer]) -> list[Scorer]:
    """The scorers of a task, the one of the headline metric first.

    Args:
        rows: The task's metrics.
        answers: Those of its first document; none where samples were not saved.
    """
    ordered = sorted(rows, key=lambda row: not row.headline)
    values = {one.filter: one.values for one in answers}
    found: dict[str, list[tuple[Any, list[str]]]] = {}
    for row in ordered:
        groups = found.setdefault(row.filter, [])
        value = values.get(row.filter, {}).get(row.metric)
        alike = isinstance(value, Mapping)
        same = next((names for one, names in groups if alike and one == value), None)
        if same is None:
            groups.append((value, [row.metric]))
        else:
            same.append(row.metric)
    return [
        Scorer(named(names[0], of_filter), of_filter, tuple(names))
        for of_filter, groups in found.items()
        for _, names in groups
    ]
