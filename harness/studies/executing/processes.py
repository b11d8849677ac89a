"""A worker as its parent sees it: given a unit, it answers, or dies and is told of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import IO

from harness.studies.executing.commands import last_of
from harness.studies.executing.messages import answered, order
from harness.studies.executing.worker import GRACE
from harness.studies.units import Cell, Outcome, Unit

_LOOK = 0.2  # seconds between two looks at whether a process lives
_MODULE = "harness.studies.executing.worker"


class Worker:
    """A process that runs units; there is a new one where it has died.

    Args:
        threads: Of torch and its like, unless the environment says how many.

    Attributes:
        unit: What it is at.
        group: ``sharing`` of the last cell it was given, whose network it has.
        answers: The descriptor on which it answers.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self.unit: Unit | None = None
        self.group = ""
        self.answers = self._orders = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._buffer, self._began = b"", 0.0

    def start(self, unit: Unit) -> None:
        """Give it a unit."""
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self._open()
        self.unit, self._began = unit, time.monotonic()
        self.group = unit.sharing if isinstance(unit, Cell) else ""
        with suppress(BrokenPipeError):  # it has died since, and is told of as any other
            _write(self._orders, order(unit))

    def _open(self) -> None:
        orders, self._orders = os.pipe()
        self.answers, answers = os.pipe()
        self._buffer = b""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        environment = dict(os.environ)
        if self._threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        command = [sys.executable, "-P", "-m", _MODULE, str(orders), str(answers)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own words
                command, pass_fds=(orders, answers), start_new_session=True, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said,
            )  # fmt: skip
        finally:
            os.close(orders)
            os.close(answers)

    def ended(self) -> Outcome | None:
        """How its unit ended; None while it is at it."""
        unit, process = self.unit, self._process
        assert unit is not None and process is not None
        status = process.poll()  # asked first: what a dead one has written is there by then
        line = self._line()
        if line is not None:
            self.unit = None
            return answered(line)
        if status is None:
            return None
        said = self._death(status)
        self.kill()
        return Outcome(unit.name, said, time.monotonic() - self._began)

    def _line(self) -> bytes | None:
        while wait([self.answers], 0):
            more = os.read(self.answers, 1 << 16)
            if not more:
                break
            self._buffer += more
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            return None
        self._buffer = rest
        return line

    def _death(self, status: int) -> str:
        if status < 0:
            name = signal.Signals(-status).name
            why = ", which the system does where memory is short" if name == "SIGKILL" else ""
            return f"its process was killed by {name}{why}"
        assert self._said is not None
        self._said.seek(0)
        said = last_of(self._said.read())
        return f"its process ended with status {status}" + (f": {said}" if said else "")

    def close(self) -> None:
        """Send no more orders: what it is at is interrupted."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def wait(self, seconds: float) -> None:
        """Wait for a closed one to end; kill it, and what it has started, if it does not."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))
        self.kill()

    def kill(self) -> None:
        """End it, and what it has started, at once."""
        self.close()
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its session's group
            self._process.wait()
            os.close(self.answers)
        if self._said is not None:
            self._said.close()
        self._process, self.unit, self.group = None, None, ""


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def wait_for_any(workers: Sequence[Worker]) -> None:
    """Wait until one of some workers may have ended; not long."""
    if not wait([worker.answers for worker in workers], _LOOK):
        return
    time.sleep(_LOOK / 20)  # one that dies closes its pipe a moment before it is dead


def end(workers: Sequence[Worker]) -> None:
    """End workers, with the time that their units need to take back what they have begun."""
    try:
        for worker in workers:
            worker.close()
        deadline = time.monotonic() + GRACE + 1
        for worker in workers:
            worker.wait(deadline - time.monotonic())
    finally:
        for worker in workers:
            worker.kill()
