"""What a study's page shows, as whoever ran the study hands it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.comparing.difference import Difference, Uncompared
from harness.leaderboard import Table


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cell took; None where its results do not say.

    Args:
        seconds: From lm-eval's start to its end, loading and judging included.
        tokens: Tokens that the model generated.
        judge_calls: Questions put to a judge, votes counted apart.
        answers: Documents that it answered.
    """

    seconds: float | None = None
    tokens: int | None = None
    judge_calls: int | None = None
    answers: int | None = None


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One run on one of the study's tasks.

    Args:
        name: Unique in the study.
        run: The name of its run, with the values that tell its variant apart.
        task: Its task, or group of tasks, as the study names it.
        folder: Where its results are once it is done.
        command: How a person runs it by hand.
        evaluates: lm-eval's name of the task, where the study has another for it.
    """

    name: str
    run: str
    task: str
    folder: Path
    command: str = ""
    evaluates: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell or an artefact that failed.

    Args:
        name: Its name.
        line: The last line that it said.
        log: The file with all that it said.
    """

    name: str
    line: str
    log: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A study.

    Args:
        title: The page's heading.
        table: The results of its cells, and no others.
        cells: All that it plans, done or not.
        runs: Names of runs, in order.
        tasks: Names of tasks, in order.
        baseline: The run that others are compared with.
        differences: From the baseline, paired by document; between others too where known.
        uncompared: What could not be compared, and why.
        gain: The task on which methods are meant to gain.
        retained: The general tasks on which they may lose.
        measured_by: Runs that measure another's method on the general tasks, as they refer to its
            cell on the task of gains: by the name of that other run.
        failed: Cells and artefacts that failed.
        missing: Names of those that were not run.
        costs: By name of the cell.
        samples: The folder of pages with the samples, as seen from the page; empty for none.
    """

    title: str
    table: Table
    cells: Sequence[StudyCell]
    runs: Sequence[str]
    tasks: Sequence[str]
    baseline: str | None = None
    differences: Sequence[Difference] = ()
    uncompared: Sequence[Uncompared] = ()
    gain: str | None = None
    retained: Sequence[str] = ()
    measured_by: Mapping[str, str] = field(default_factory=dict)
    failed: Sequence[Failure] = ()
    missing: Sequence[str] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    samples: str = ""
