"""Runs of lm-eval against one of them: every task that both have, Holm over all differences.

Only like is compared with like: what must agree before two values may stand in one column of the
leaderboard (``Contest``), and what the documents themselves say. Everything else is told, with its
reason. A group that is a mean of its tasks is compared as such, its tasks resampled each by itself,
and stands for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.comparing.difference import Comparisons, Difference, Uncompared
from harness.comparing.pairing import Matched, Side, matched, of_group
from harness.comparing.runs import ComparedRun, read_run
from harness.comparing.samples import Metric
from harness.errors import HarnessError
from harness.leaderboard.rows import Row
from harness.leaderboard.tables import contest_order
from harness.statistics import difference_test, holm
from harness.statistics.paired import RESAMPLES


def compare(
    runs: Mapping[str, Sequence[Path]],
    baseline: str,
    *,
    all_metrics: bool = False,
    subtasks: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparisons:
    """Compare runs with a baseline, paired by document.

    Args:
        runs: By name the results files, or folders of them, of one model and method each.
        baseline: The name of the run that the others are compared with.
        all_metrics: All metrics; by default each task's headline metric.
        subtasks: Also the tasks of a group that is compared as a whole.
        resamples: Resamples of a bootstrap, at most.
        seed: Seed of the resampling.

    Returns:
        Differences, with p-values corrected for their number, and what is not compared.

    Raises:
        HarnessError: A run is unknown, its results or samples are damaged, or they are of several
            models or methods.
    """
    if baseline not in runs:
        raise HarnessError(f"{baseline} is none of the runs: {', '.join(runs)}")
    read = {name: read_run(name, paths) for name, paths in runs.items()}
    differences: list[Difference] = []
    uncompared: list[Uncompared] = []
    with np.errstate(all="ignore"):  # what a stranger's values overflow to is no value
        for name, run in read.items():
            if name == baseline:
                continue
            found = _Comparison(read[baseline], run, all_metrics, resamples, seed)
            for one in found.all(subtasks=subtasks):
                if isinstance(one, Difference):
                    differences.append(one)
                else:
                    uncompared.append(one)
            run.forget()
    corrected = holm([one.p for one in differences])
    both = zip(differences, corrected, strict=True)
    places = {task: place for place, task in enumerate(dict.fromkeys(d.task for d in differences))}
    ordered = sorted((replace(one, p_holm=p) for one, p in both), key=lambda one: places[one.task])
    return Comparisons(tuple(ordered), tuple(dict.fromkeys(uncompared)))


class _Comparison:
    """One run against the baseline."""

    def __init__(
        self,
        baseline: ComparedRun,
        run: ComparedRun,
        all_metrics: bool,
        resamples: int,
        seed: int,
    ) -> None:
        self._baseline, self._run = baseline, run
        self._resamples, self._seed = resamples, seed
        self._rows = [
            row
            for rows in baseline.rows.values()
            for row in rows
            if (all_metrics or row.headline) and row.value is not None
        ]
        named = [(row.metric, row.filter) for row in self._rows]
        self._metrics: list[Metric] = list(dict.fromkeys(named))

    def all(self, *, subtasks: bool) -> Iterator[Difference | Uncompared]:
        """Groups first, the largest before those in it; then the tasks that none stands for."""
        covered: set[str] = set()
        groups = [row for row in self._rows if row.task.group]
        for row in sorted(groups, key=lambda row: -len(self._baseline.leaves(row))):
            leaves = set(self._baseline.leaves(row))
            if not leaves or leaves <= covered:
                continue
            made = self._compared(row)
            yield made
            if not subtasks and (isinstance(made, Difference) or not self._run.tasks & leaves):
                covered |= leaves
        tasks = [row for row in self._rows if not row.task.group and row.task.task not in covered]
        for row in sorted(tasks, key=lambda row: contest_order(row.contest)):
            yield self._compared(row)
        missing = self._run.tasks - self._baseline.tasks
        yield from (self._not(task, "the baseline does not have this task") for task in missing)

    def _compared(self, row: Row) -> Difference | Uncompared:
        other = self._run.like(row)
        if isinstance(other, str):
            return self._not(row.task.task, other)
        made = self._of_group(row, other) if row.task.group else self._of_task(row, other)
        if isinstance(made, str):
            return self._not(row.task.task, made)
        return self._difference(row, other, made)

    def _of_task(self, row: Row, other: Row) -> Matched | str:
        return matched((self._baseline, row), (self._run, other), self._metrics)

    def _of_group(self, row: Row, other: Row) -> Matched | str:
        leaves: list[tuple[Side, Side]] = []
        for task in self._baseline.leaves(row):
            rows = self._baseline.rows.get((task, (row.metric, row.filter)), ())
            own = [one for one in rows if one.run.file == row.run.file]
            if len(own) != 1:
                return f"{task}: no {row.metric},{row.filter} of its own"
            theirs = self._run.like(own[0])
            if isinstance(theirs, str):
                return f"{task}: {theirs}"
            leaves.append(((self._baseline, own[0]), (self._run, theirs)))
        return of_group(row, other, leaves, self._metrics)

    def _difference(self, row: Row, other: Row, made: Matched) -> Difference:
        found = made.pair
        tested = difference_test(found, resamples=self._resamples, seed=self._seed)
        direction = row.higher_is_better
        return Difference(
            task=row.task.task,
            metric=row.metric,
            filter=row.filter,
            baseline=self._baseline.name,
            run=self._run.name,
            higher_is_better=other.higher_is_better if direction is None else direction,
            documents=made.documents,
            units=found.units,
            baseline_value=found.baseline_value,
            value=found.value,
            difference=found.value - found.baseline_value,
            low=tested.low,
            high=tested.high,
            p=tested.p,
            p_holm=None,
            test=tested.test,
            left_out=made.left_out,
        )

    def _not(self, task: str, reason: str) -> Uncompared:
        return Uncompared(
            task=task, baseline=self._baseline.name, run=self._run.name, reason=reason
        )
