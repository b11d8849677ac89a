"""One report: the runs compared and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import DataError
from harness_astral.report.reading import Run, check_same_judges, check_same_suite, told_apart
from harness_astral.report.tables import Comparison, compare, levels_of
from harness_astral.suites.suite import read_suite

MOST_LEVELS = 200
"""Levels of a factor, at most: those of two are a table, and each has a line in a picture."""


@dataclass(frozen=True)
class Report:
    """What a report is about.

    Attributes:
        runs: The runs, on one suite; that which others are compared with is the last.
        levels: The levels of each factor, in order.
        manifest: The suite's manifest; empty where no suite was given.
        comparisons: The other runs against the last one.
        show_text: Whether the answers hold texts.
    """

    runs: tuple[Run, ...]
    levels: Mapping[str, Sequence[str]]
    manifest: Mapping[str, Any]
    comparisons: tuple[Comparison, ...] = ()
    show_text: bool = False


def report_of(
    runs: Sequence[Run],
    *,
    suite: Path | None = None,
    against: Run | None = None,
    show_text: bool = False,
) -> Report:
    """Bring together what a report shows.

    Args:
        runs: Runs on one suite.
        suite: The suite that they answered.
        against: A run on the same suite that each of the others is compared with.
        show_text: Whether the runs were read with their texts.

    Raises:
        DataError: The runs are of different suites, or of another one than ``suite``, or were
            judged otherwise than ``against``, or have too many levels.
        ArtefactError: The suite was changed.
    """
    if against is not None:
        runs = [run for run in runs if run.provenance.run_id != against.provenance.run_id]
        if not runs:
            raise DataError("--against names the run that is reported; give another one")
        runs = told_apart([*runs, against])
    check_same_suite(runs)
    if against is not None:
        for run in runs[:-1]:
            check_same_judges(run, against)
    manifest: dict[str, Any] = {}
    if suite is not None:
        _, manifest = read_suite(suite)
        if manifest["sha256"] != runs[0].sha256:
            raise DataError(
                f"--suite {suite} is another suite ({manifest['sha256'][:12]}) than that of "
                f"{runs[0].provenance.file} ({runs[0].sha256[:12] or 'unknown'})"
            )
    levels = levels_of(runs, manifest.get("factors"))
    for factor, own in levels.items():
        if len(own) > MOST_LEVELS:
            raise DataError(
                f"{runs[0].provenance.file}: the suite has {len(own):,} levels of {factor}, more "
                f"than the {MOST_LEVELS} that a report can show"
            )
    return Report(
        runs=tuple(runs),
        levels=levels,
        manifest=manifest,
        comparisons=tuple(compare(run, runs[-1]) for run in runs[:-1]) if against else (),
        show_text=show_text,
    )
