"""Units in worker processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import replace

from harness.errors import HarnessError
from harness.studies.executing.one_unit import sweep
from harness.studies.executing.processes import Worker, end, wait_for_any
from harness.studies.executing.schedule import Schedule
from harness.studies.units import Outcome, Unit


class LocalExecutor:
    """Runs units in processes that each run one after another.

    A process that dies, by a signal or for lack of memory, fails the unit it was at; the others go
    on in a new one. Where the run is interrupted, units take back what they have begun.

    Args:
        processes: How many; each holds one network at a time. Several share the processors: each
            has as many threads as come to it, unless ``OMP_NUM_THREADS`` says otherwise.

    Raises:
        HarnessError: There are fewer than one.
    """

    def __init__(self, processes: int = 1) -> None:
        if processes < 1:
            raise HarnessError(f"--processes {processes}: at least 1 is needed")
        self.processes = processes

    def run(self, units: Sequence[Unit], *, keep_going: bool) -> Generator[Outcome, None, None]:
        """Yield how each unit ended, as it ends; one whose needs failed is not run.

        Args:
            units: What is to be run; what they need and is not among them is done.
            keep_going: Whether others are begun after a failure; those under way end in any case.

        Raises:
            HarnessError: Two units have one name or folder.
        """
        units = [absolute(unit) for unit in units]
        schedule = Schedule(units)
        sweep(units)
        count = min(self.processes, max(1, len(units)))
        workers = [Worker(threads=_share(count)) for _ in range(count)]
        try:
            begins = True
            while True:
                if begins:
                    _deal(schedule, workers)
                busy = [worker for worker in workers if worker.unit is not None]
                if not busy:
                    return
                wait_for_any(busy)
                for outcome in filter(None, [worker.ended() for worker in busy]):
                    schedule.ended(outcome)
                    begins = begins and (keep_going or outcome.error is None)
                    yield outcome
        finally:
            end(workers)
            sweep(units)


def _share(processes: int) -> int | None:
    """Threads of one of several processes; None leaves it to torch."""
    if processes == 1:
        return None
    linux = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    return max(1, processors // processes)


def _deal(schedule: Schedule, workers: Sequence[Worker]) -> None:
    for worker in workers:
        if worker.unit is None:
            elsewhere = {other.group for other in workers if other is not worker} - {""}
            unit = schedule.next(worker.group, elsewhere)
            if unit is not None:
                worker.start(unit)


def absolute(unit: Unit) -> Unit:
    """A unit whose folder and log have absolute paths."""
    return replace(unit, folder=unit.folder.absolute(), log=unit.log.absolute())
