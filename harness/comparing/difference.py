"""What a comparison of two runs on the same documents found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of one task in two runs: ``value`` minus ``baseline_value``, paired by document.

    Args:
        task: Name of the task.
        metric: Name of the metric.
        filter: lm-eval's filter.
        baseline: Name of the run that is compared with.
        run: Name of the other run.
        higher_is_better: The metric's direction; None if unknown.
        documents: Documents that both runs have. Where the rows of a unit may differ (of a concept
            one run has several factors, the other none), the fewer of both.
        units: Independent units among them, which are resampled: documents, or concepts.
        baseline_value: The metric over these documents, of the baseline.
        value: The same of the other run.
        difference: ``value - baseline_value``.
        low: Lower end of the 95 % interval of the difference; None where there is none.
        high: Upper end.
        p: Two-sided p-value of "no difference"; None where there is none.
        p_holm: The same, corrected by Holm over all differences of one call.
        test: How p was found: ``"bootstrap"`` or ``"mcnemar"``.
        left_out: Units that only one run has, or has a value for; they count in neither.
    """

    task: str
    metric: str
    filter: str
    baseline: str
    run: str
    higher_is_better: bool | None
    documents: int
    units: int
    baseline_value: float
    value: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    test: str
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Uncompared:
    """Two runs that are not compared on a task, and why.

    Args:
        task: Name of the task.
        baseline: Name of the run that would be compared with.
        run: Name of the other run.
        reason: Why, in a few words: ``another judge``, ``other documents`` …
    """

    task: str
    baseline: str
    run: str
    reason: str


@dataclass(frozen=True)
class Comparisons:
    """All of one call.

    Args:
        differences: In the order of the tasks, and of the runs.
        uncompared: What could not be compared.
    """

    differences: tuple[Difference, ...]
    uncompared: tuple[Uncompared, ...]
