"""What a report says besides rates: coverage, agreement, calibration, costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import DataError
from harness.reports.values import mapping, text, whole
from harness_astral.metrics.agreement import fleiss_kappa, krippendorff_alpha
from harness_astral.metrics.calibration import Calibration, Corrected, rogan_gladen
from harness_astral.report.reading import Answer, Run
from harness_astral.report.report import Report
from harness_astral.report.tables import tally
from harness_astral.requests import FACTORS
from harness_astral.suites.coverage import Share, requested
from harness_astral.suites.factors import Factors, Level


@dataclass(frozen=True)
class Coverage:
    """A line of the table of coverage.

    Attributes:
        name: What is covered.
        shares: For t = 1, 2, 3.
    """

    name: str
    shares: tuple[Share, ...]


def coverages(report: Report) -> list[Coverage]:
    """Requested and verified coverage of the suite, and what each run decided on.

    Requested and verified are the manifest's. Without it, requested is that of all inputs of the
    runs, over the levels that they have.
    """
    told = mapping(report.manifest.get("coverage"))
    factors = _factors(report.levels)
    found = []
    if mapping(told.get("requested")):
        found.append(Coverage("requested", _shares(told["requested"])))
    else:
        every = {one.input.id: one for run in report.runs for one in run.probes}
        found.append(Coverage("requested", _covered(list(every.values()), factors)))
    if mapping(told.get("verified")):
        found.append(Coverage("verified", _shares(told["verified"])))
    for run in report.runs:
        decided = [one for one in run.probes if one.unsafe is not None]
        found.append(Coverage(f"decided, {run.label}", _covered(decided, factors)))
    return found


def _factors(levels: Mapping[str, Sequence[str]]) -> Factors:
    return Factors(*(tuple(Level(own, own) for own in levels[factor]) for factor in FACTORS))


def _covered(answers: Sequence[Answer], factors: Factors) -> tuple[Share, ...]:
    return tuple(requested([one.input for one in answers], factors).values())


def _shares(told: Mapping[str, Mapping[str, Any]]) -> tuple[Share, ...]:
    return tuple(Share(int(one["covered"]), int(one["total"])) for one in told.values())


@dataclass(frozen=True)
class Judging:
    """How a run was judged.

    Attributes:
        label: The run.
        judges: For each oracle: its name, and how many of its verdicts are unsafe, safe, unknown
            and missing.
        kappa: Fleiss' κ of the oracles; NaN where it is undefined.
        alpha: Krippendorff's α.
    """

    label: str
    judges: tuple[tuple[str, tuple[int, ...]], ...]
    kappa: float
    alpha: float


def judgings(runs: Sequence[Run]) -> list[Judging]:
    """Agreement of the oracles on the probes, and what each of them said."""
    return [_judging(run) for run in runs]


def _judging(run: Run) -> Judging:
    judged = [one.verdicts for one in run.probes if one.verdicts]
    names = list(dict.fromkeys(name for own in judged for name in own))
    said = {name: [own.get(name) for own in judged] for name in names}
    kinds = ("unsafe", "safe", "unknown", None)
    ratings = [[own.get(name) for name in names] for own in judged]
    several = len(names) > 1
    return Judging(
        run.label,
        tuple((name, tuple(said[name].count(kind) for kind in kinds)) for name in names),
        fleiss_kappa(ratings) if several else math.nan,
        krippendorff_alpha(ratings) if several else math.nan,
    )


@dataclass(frozen=True)
class Calibrated:
    """What human labels say of a run's judges, and its rate corrected by them."""

    label: str
    calibration: Calibration
    corrected: Corrected


def calibrations(runs: Sequence[Run]) -> list[Calibrated]:
    """Of the runs that were calibrated.

    Raises:
        DataError: Counts do not add up.
    """
    found = []
    for run in runs:
        told = mapping(run.note.get("calibration"))
        names = ("found", "unsafe", "left", "safe", "undecided")
        counts = {name: whole(told.get(name)) or 0 for name in names}
        if not told:
            continue
        calibration = Calibration(**counts)
        if min(counts.values()) < 0 or not (
            calibration.found <= calibration.unsafe and calibration.left <= calibration.safe
        ):
            raise DataError(f"{run.provenance.file} is damaged: its calibration does not add up")
        rate = tally(run.probes).of_decided
        corrected = rogan_gladen(rate.count, rate.n, calibration)
        found.append(Calibrated(run.label, calibration, corrected))
    return found


@dataclass(frozen=True)
class Cost:
    """What a step of making the suite cost; texts in tokens where the model counts them.

    Attributes:
        step: Role and step.
        questions: Questions.
        requests: Requests sent for them.
        unanswered: Questions without an answer that counts.
        sent: Text sent.
        received: Text received.
        unit: Of the last two: ``tokens`` or ``characters``.
    """

    step: str
    questions: int
    requests: int
    unanswered: int
    sent: int
    received: int
    unit: str


def costs(manifest: Mapping[str, Any]) -> list[Cost]:
    """The costs that a suite's manifest tells, a line a step."""
    return [_cost(name, spent) for name, spent in _steps(manifest)]


def _cost(name: str, spent: Mapping[str, Any]) -> Cost:
    unit = "tokens" if "prompt_tokens" in spent else "characters"

    def count(key: str) -> int:
        return whole(spent.get(key)) or 0

    return Cost(
        step=name,
        questions=count("questions"),
        requests=count("requests"),
        unanswered=count("unanswered"),
        sent=count(f"prompt_{unit}"),
        received=count(f"answer_{unit}"),
        unit=unit,
    )


def _steps(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for role, steps in mapping(manifest.get("costs")).items():
        for step, spent in mapping(steps).items():
            yield f"{text(role)}: {text(step)}", mapping(spent)
