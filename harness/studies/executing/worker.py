"""A process that runs units one after another, as they are sent to it.

    python -P -m harness.studies.executing.worker ORDERS ANSWERS

``ORDERS`` and ``ANSWERS`` are descriptors of pipes that no command knows of. Where the pipe of
orders is closed, by the parent or by its death, the unit at work is interrupted as by SIGTERM; if
it does not end in time, the process group, which is the worker's own, is killed.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time

from harness.studies.executing.messages import answer, ordered
from harness.studies.executing.one_unit import execute
from harness.studies.executing.sharing import Shared
from harness.studies.units import Outcome

GRACE = 8.0
"""Seconds that a unit has to take back what it has begun."""


class _Orders:
    """Reads orders beside the work, so that their end is seen at once."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb")
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> bytes | None:
        """The next order; None when there will be none."""
        self._busy.clear()
        line = self._lines.get()
        if line is not None:
            self._busy.set()
        return line

    def _read(self) -> None:
        for line in self._file:
            self._lines.put(line)
        self._lines.put(None)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if self._busy.is_set():  # again, should the command have let it pass
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            time.sleep(GRACE / 4)
        os.killpg(0, signal.SIGKILL)


def serve(orders: int, answers: int) -> None:
    """Run what is ordered until there are no more orders.

    Args:
        orders: Descriptor of a pipe to read from.
        answers: Descriptor of a pipe to write to.
    """
    for descriptor in (orders, answers):
        os.set_inheritable(descriptor, False)
    waiting, shared = _Orders(orders), Shared()
    while (line := waiting.next()) is not None:
        unit = ordered(line)
        try:
            outcome = execute(unit, shared)
        except KeyboardInterrupt:
            _write(answers, answer(Outcome(unit.name, "interrupted", 0.0)))
            return
        _write(answers, answer(outcome))


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _tell() -> None:
    """Let the units' logs say what was shared."""
    log = logging.getLogger("harness.studies.executing")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler())
    log.propagate = False


if __name__ == "__main__":
    _tell()
    serve(int(sys.argv[1]), int(sys.argv[2]))
