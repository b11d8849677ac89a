"""How a metric is made of its documents' values: what resampling has to do again.

A plugin's metric is the ``Statistic`` that the task's YAML names: nothing else is needed. lm-eval's
own are the mean and those aggregations below. Whichever it is, it counts only if it gives the very
value that the results hold: a metric that no known aggregation gives is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.errors import DataError, one_line
from harness.host import discovery, task_files
from harness.host.lm_eval_seams import load_yaml
from harness.reports.values import real
from harness.statistics import Floats, Mean, Parts, Statistic

_CLOSE = 1e-5


class Resampled(Protocol):
    """A statistic that can be taken apart by resampling unit."""

    def parts(self, items: Sequence[Any]) -> Parts:
        """The statistic of some items, by unit."""


def _number(item: Any) -> float:
    """A document's value; NaN for none.

    Raises:
        TypeError: It is no number.
    """
    found = real(item)
    if found is None and item is not None and not (isinstance(item, float) and math.isnan(item)):
        raise TypeError(f"{item!r} is no number")
    return math.nan if found is None else found


def _pairs(items: Sequence[Any]) -> Floats:
    """Two numbers an item [n, 2]."""
    rows = np.array([[_number(value) for value in item] for item in items], dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise TypeError("no pairs")
    return rows


def _perplexity(items: Sequence[Any], weights: Floats) -> Floats:
    values = np.array([_number(item) for item in items])
    found: Floats = np.exp(-(weights @ values) / weights.sum(1))
    return found


def _per_weight(items: Sequence[Any], weights: Floats) -> Floats:
    sums = weights @ _pairs(items)
    found: Floats = -sums[:, 0] / sums[:, 1]
    return found


def _confusion(items: Sequence[Any], weights: Floats) -> tuple[Floats, Floats]:
    """Labels [k], and how often each is given for each [B, gold k, given k]."""
    rows = _pairs(items)
    labels, places = np.unique(rows, return_inverse=True)
    gold, given = places.reshape(rows.shape).T
    size = len(labels)
    if size > 100:
        raise TypeError("no labels")
    cells = np.zeros((len(rows), size * size))
    cells[np.arange(len(rows)), gold * size + given] = 1
    return labels, (weights @ cells).reshape(-1, size, size)


def _f1(items: Sequence[Any], weights: Floats) -> Floats:
    labels, table = _confusion(items, weights)
    if not set(labels) <= {0.0, 1.0} or 1.0 not in labels:
        raise TypeError("no binary labels")
    hit = table[:, -1, -1]
    found: Floats = 2 * hit / (table[:, -1].sum(1) + table[:, :, -1].sum(1))
    return found


def _matthews(items: Sequence[Any], weights: Floats) -> Floats:
    """Gorodkin's R_K (2004), which for two labels is Matthews' φ; 0 where it is undefined."""
    _, table = _confusion(items, weights)
    gold, given = table.sum(2), table.sum(1)
    n, right = table.sum((1, 2)), np.trace(table, axis1=1, axis2=2)
    spread = (n**2 - (gold**2).sum(1)) * (n**2 - (given**2).sum(1))
    above = right * n - (gold * given).sum(1)
    found: Floats = np.divide(above, np.sqrt(spread), out=np.zeros_like(n), where=spread > 0)
    return found


_MEAN = Mean("mean", _number)
_KNOWN: dict[str, Statistic] = {
    "mean": _MEAN,
    "nanmean": _MEAN,
    "perplexity": Statistic("perplexity", _perplexity),
    "weighted_perplexity": Statistic(
        "weighted_perplexity", lambda items, weights: np.exp(_per_weight(items, weights))
    ),
    "bits_per_byte": Statistic(
        "bits_per_byte", lambda items, weights: _per_weight(items, weights) / math.log(2)
    ),
    "f1": Statistic("f1", _f1),
    "matthews_corrcoef": Statistic("matthews_corrcoef", _matthews),
}
_BY_METRIC = {
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "mcc": "matthews_corrcoef",
}
"""lm-eval's aggregation of a metric where its name is another and the task does not say it."""


def statistic_of(
    task: str,
    metric: str,
    config: Mapping[str, Any],
    items: Sequence[Any],
    *,
    value: float,
    where: str,
) -> Resampled | str:
    """The statistic that makes a metric of its documents' values.

    Args:
        task: The task's name.
        metric: The metric's.
        config: The task's configuration, as the results hold it.
        items: The documents' values.
        value: What the results hold, which the statistic has to give.
        where: The results file, for messages.

    Returns:
        The statistic; or why there is none, in a few words.

    Raises:
        DataError: The plugin's own metric cannot be computed from these samples.
    """
    own = (_own_statistics(task) or {}).get(metric)
    if own is not None:
        try:
            gives = _gives(own, items, value)
        except Exception as cause:  # whatever it raises on what a stranger's samples say
            raise DataError(
                f"{where}: {metric} of {task} cannot be computed from its samples: "
                f"{type(cause).__name__}: {one_line(cause, 200)}"
            ) from cause
        return own if gives else "its samples do not give the value in its results"
    for statistic in _candidates(metric, config):
        try:
            if _gives(statistic, items, value):
                return statistic
        except (TypeError, ValueError, ArithmeticError, IndexError):
            continue  # values of another kind than this aggregation's
    return "no known aggregation makes its value of the documents' values in the samples"


def _gives(statistic: Resampled, items: Sequence[Any], value: float) -> bool:
    parts = statistic.parts(items)
    units = len(items) if parts.units is None else len(parts.units)
    found = float(parts.of(np.ones((1, units)))[0])
    return math.isclose(found, value, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _candidates(metric: str, config: Mapping[str, Any]) -> Iterator[Statistic]:
    listed = config.get("metric_list")
    entries = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    declared = [e.get("aggregation") for e in entries if e.get("metric") == metric]
    said = [name for name in declared if isinstance(name, str)]
    for name in dict.fromkeys([*said, _BY_METRIC.get(metric, metric), "mean"]):
        if name in _KNOWN:
            yield _KNOWN[name]


@cache
def plugin_tasks() -> dict[str, Path]:
    """The YAML of each task that an installed plugin brings."""
    return {
        file.name: file.path
        for plugin in discovery.plugins()
        for folder in plugin.folders
        for file in task_files.task_files(folder)
        if file.name is not None and file.kind != "group"
    }


@cache
def _own_statistics(task: str) -> Mapping[str, Resampled] | None:
    """The statistics that a plugin's task names; None for a task of none."""
    path = plugin_tasks().get(task)
    if path is None:
        return None
    listed = load_yaml(path).get("metric_list") or ()
    named = ((entry.get("metric"), entry.get("aggregation")) for entry in listed)
    return {name: one for name, one in named if hasattr(one, "parts")}
