"""Units on a Ray cluster: a group of cells is a task, an artefact is a task.

Placement, resources and retries are Ray's. A task drives one worker process (``processes``), as a
run on one machine does, and yields how each of its units ended. Folders lie on storage that all
nodes share: a unit is done once its folder is there, so that a task that is tried again skips what
the first try has done, and a task knows which of its needs were made.

Ray sets ``OMP_NUM_THREADS`` to the number of a task's CPUs where it is not set, and hides the GPUs
that a task has not asked for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.studies.executing.batches import Batch, batches, runnable
from harness.studies.executing.local import LocalExecutor, absolute
from harness.studies.executing.one_unit import sweep
from harness.studies.executing.schedule import check
from harness.studies.units import Outcome, Unit

RETRIES = 3
_PATIENCE = 10.0  # seconds


class RayExecutor:
    """Runs units as tasks of a Ray cluster.

    Args:
        address: A cluster's, as ``ray.init`` takes it; by default that of the environment, or one
            is started on this machine.
        retries: How often a task is tried again whose process has died.
    """

    def __init__(self, address: str | None = None, retries: int = RETRIES) -> None:
        self.address, self.retries = address, retries

    def run(self, units: Sequence[Unit], *, keep_going: bool) -> Generator[Outcome, None, None]:
        """Yield how each unit ended, as it ends; one whose needs failed is not run.

        Args:
            units: What is to be run; what they need and is not among them is done.
            keep_going: Whether others are begun after a failure; those under way are interrupted
                if not, and take back what they have begun.

        Raises:
            HarnessError: Ray is not there or not reached, or two units have one name or folder.
        """
        units = [absolute(unit) for unit in units]
        check(units)
        ray = _ray()
        own = _connected(ray, self.address)
        try:
            sweep(units)
            yield from _Tasks(ray, self.retries, keep_going).run(units)
        finally:
            if own:
                ray.shutdown()
            sweep(units)


def _ray() -> Any:
    try:
        import ray
    except ImportError as cause:
        raise HarnessError("--executor ray needs Ray: pip install 'paperharness[ray]'") from cause
    return ray


def _connected(ray: Any, address: str | None) -> bool:
    """Connect to a cluster; returns whether that was needed."""
    if ray.is_initialized():
        return False
    _reach(address or "")
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as cause:
        where = f"at {address}" if address else "on this machine"
        raise HarnessError(f"no Ray cluster can be used {where}: {one_line(cause, 300)}") from cause
    return True


def _reach(address: str) -> None:
    """See that something answers at an address with a port; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as cause:
        raise HarnessError(f"no Ray cluster answers at {address}: {one_line(cause)}") from cause


def run_batch(
    units: Sequence[Unit], needs: Mapping[str, Path], folder: str, keep_going: bool, *_after: object
) -> Iterator[Outcome]:
    """A Ray task: run units of one batch, as far as what they need was made.

    Args:
        units: The batch's.
        needs: Folders of units of other batches that they need.
        folder: Where the command was given.
        keep_going: Whether to go on after a failure.
        *_after: What Ray waits for: the ends of other batches.
    """
    if Path(folder).is_dir():
        os.chdir(folder)
    lost = [name for name, place in needs.items() if not place.is_dir()]
    yield from LocalExecutor().run(runnable(units, lost), keep_going=keep_going)


class _Tasks:
    """The tasks of one run."""

    def __init__(self, ray: Any, retries: int, keep_going: bool) -> None:
        self._ray, self._retries, self._keep_going = ray, retries, keep_going
        self._waiting: dict[Any, list[Unit]] = {}  # by task, units of which nothing was heard
        self._folders: dict[str, Path] = {}

    def run(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        self._folders = {unit.name: unit.folder for unit in units}
        ends: list[Any] = []
        for batch in batches(units):
            task = self._start(batch, [ends[number] for number in batch.after])
            ends.append(task.completed())
        try:
            while self._waiting:
                for outcome in self._heard():
                    yield outcome
                    if outcome.error is not None and not self._keep_going:
                        self._cancel()
        finally:
            self._cancel()

    def _start(self, batch: Batch, after: Sequence[Any]) -> Any:
        own = {unit.name for unit in batch.units}
        needs = {
            need: self._folders[need]
            for unit in batch.units
            for need in unit.needs
            if need in self._folders and need not in own
        }
        remote = self._ray.remote(
            num_cpus=batch.resources.cpus, num_gpus=batch.resources.gpus,
            max_retries=self._retries, num_returns="streaming",
        )(run_batch)  # fmt: skip
        task = remote.remote(batch.units, needs, str(Path.cwd()), self._keep_going, *after)
        self._waiting[task] = list(batch.units)
        return task

    def _heard(self) -> Iterator[Outcome]:
        """What one task tells next; nothing for a while where none does."""
        ready, _ = self._ray.wait(list(self._waiting), num_returns=1, timeout=1.0)
        for task in ready:
            try:
                outcome = self._ray.get(next(task))
            except StopIteration:
                del self._waiting[task]
            except self._ray.exceptions.RayError as cause:
                yield from self._died(task, cause)
            else:
                left = self._waiting[task]
                if any(unit.name == outcome.unit for unit in left):  # not told by an earlier try
                    self._waiting[task] = [u for u in left if u.name != outcome.unit]
                    yield outcome

    def _died(self, task: Any, cause: Exception) -> Iterator[Outcome]:
        """The unit that a task was at has failed; the rest of the batch goes to another."""
        left = [unit for unit in self._waiting.pop(task) if not unit.done]
        if isinstance(cause, self._ray.exceptions.TaskCancelledError) or not left:
            return
        if isinstance(cause, self._ray.exceptions.RayTaskError):
            said = one_line(cause.cause, 300)
        else:
            said = f"its Ray worker died, {self._retries} retries too: {one_line(cause, 300)}"
        yield Outcome(left[0].name, said, 0.0)
        rest = runnable(left[1:], [left[0].name])
        if rest and self._keep_going:
            self._start(Batch(tuple(rest), ()), [])

    def _cancel(self) -> None:
        """Interrupt all tasks."""
        for task in self._waiting:
            self._ray.cancel(task)
