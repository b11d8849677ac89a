"""Doing what of a plan is missing, and what is known of units that are not done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.artefacts.locks import alone
from harness.artefacts.reading import read_record
from harness.artefacts.writing import check_writable, write_json
from harness.errors import one_line
from harness.secrets import struck
from harness.studies.planning.plan import Plan
from harness.studies.planning.rejudging import remember
from harness.studies.units import Executor, Outcome, Unit

_LONGEST = 500  # characters of what a failed command said last
KEPT = "what is done is kept; the same command goes on from there"


@dataclass(frozen=True)
class Failure:
    """How a unit failed last.

    Args:
        error: The last line that its command said.
        seconds: After how long.
    """

    error: str
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How a run of a plan ended.

    Args:
        outcomes: Of each unit that was run, in the order in which they ended.
        left: Units that were not run, as what they need failed or another's failure ended all.
    """

    outcomes: Sequence[Outcome]
    left: Sequence[Unit]

    @property
    def failed(self) -> list[Outcome]:
        """The units that failed."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]


@contextmanager
def at_work(out: Path) -> Iterator[None]:
    """The right to work in a study's folder, which one process has at a time.

    Raises:
        HarnessError: Another has it, or the folder cannot be written.
    """
    check_writable(out)
    with alone(out, "harness run"):
        yield


def run_plan(
    plan: Plan,
    units: Sequence[Unit],
    executor: Executor,
    *,
    keep_going: bool = True,
    watch: Callable[[Outcome], None] = lambda outcome: None,
) -> Ended:
    """Do units of a plan; the caller is ``at_work``.

    Args:
        plan: The plan.
        units: What is to be done, as ``Plan.to_do`` says it.
        executor: Who runs them.
        keep_going: Whether others are run after a failure.
        watch: Called with each outcome.

    Raises:
        HarnessError: A file cannot be written.
        KeyboardInterrupt: It was interrupted; a note says what is kept.
    """
    plan.write_configs()
    remember(plan.cells, plan.study.out)
    by_name = {unit.name: unit for unit in units}
    outcomes: list[Outcome] = []
    try:
        with closing(executor.run(units, keep_going=keep_going)) as ends:
            for outcome in ends:
                _note(by_name[outcome.unit], outcome)
                outcomes.append(outcome)
                watch(outcome)
    except KeyboardInterrupt as stop:
        stop.add_note(KEPT)
        raise
    ended = {outcome.unit for outcome in outcomes}
    return Ended(outcomes, [unit for unit in units if unit.name not in ended])


def failure(unit: Unit) -> Failure | None:
    """How a unit that is not done failed last; None where it did not.

    Raises:
        ArtefactError: What is noted of it is damaged.
    """
    file = _file(unit)
    return read_record(file, Failure) if not unit.done and file.is_file() else None


def is_running(unit: Unit, began: float) -> bool:
    """Whether a unit's log has been written to since the run began, and it has not ended yet."""
    written = _written(unit.log)
    return not unit.done and written >= began and written > _written(_file(unit))


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _note(unit: Unit, outcome: Outcome) -> None:
    """Keep how a unit failed, for who asks later; forget it once it is done."""
    if outcome.error is None:
        _file(unit).unlink(missing_ok=True)
    else:
        error = one_line(struck(outcome.error), _LONGEST)
        write_json(_file(unit), {"error": error, "seconds": outcome.seconds})


def _file(unit: Unit) -> Path:
    return unit.log.with_suffix(".failed.json")
