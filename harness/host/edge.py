"""The command's edge: errors the user can put right are one line there, not a traceback.

Ctrl-C and SIGTERM, which SLURM, Kubernetes and ``timeout`` send, end a command alike: what was
begun is taken back, what is worth it is kept (responses while they are judged), one line says so,
and the exit status is 128 and the signal's number.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from harness.errors import HarnessError, and_causes, one_line

_KEPT = "what response_cache= and judges keep is not asked again"
_ONE = 2.0
"""Seconds in which SIGTERM counts once: ``timeout`` sends it to the process and to its group."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; what sees to Ctrl-C sees to it."""


class _Dropped:
    """Tells of exceptions that Python drops as before, but of ``Terminated``, which comes again."""

    otherwise: Callable[[sys.UnraisableHookArgs], object] = staticmethod(sys.__unraisablehook__)

    def __call__(self, dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, Terminated):
            self.otherwise(dropped)


_dropped = _Dropped()


class _Sigterm:
    """The handler of SIGTERM.

    Python drops an exception in a destructor or a callback of its own, and goes on: the signal is
    sent again, until the exception is under way or has been told.
    """

    came: float | None = None
    told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again = self.came is not None and now <= self.came + _ONE
        handled = and_causes(sys.exc_info()[1])
        if again or self.told or any(isinstance(one, KeyboardInterrupt) for one in handled):
            return
        self.came = now
        reminder = threading.Timer(_ONE + 0.1, self._remind)
        reminder.daemon = True
        reminder.start()
        raise Terminated

    def _remind(self) -> None:
        if not self.told and signal.getsignal(signal.SIGTERM) is self:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


_sigterm = _Sigterm()


def sigterm_interrupts() -> bool:
    """Let SIGTERM raise ``Terminated`` in the main thread, where nothing else sees to it.

    A library's own handler stays, and so does the default in the processes that Python's
    ``multiprocessing`` has started or will start.

    Returns:
        Whether the handler is set now and was not before.
    """
    started = sys.modules.get("multiprocessing.process")  # slow to import, as early as this
    if (
        threading.current_thread() is not threading.main_thread()
        or (started is not None and started.parent_process() is not None)
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        return False
    _sigterm.came, _sigterm.told = None, False
    if sys.unraisablehook is not _dropped:
        _dropped.otherwise, sys.unraisablehook = sys.unraisablehook, _dropped
    signal.signal(signal.SIGTERM, _sigterm)
    return True


def _let_go() -> None:
    if signal.getsignal(signal.SIGTERM) is _sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def sigterm_interrupting() -> Iterator[None]:
    """``sigterm_interrupts`` while the context lasts."""
    own = sigterm_interrupts()
    try:
        yield
    finally:
        if own:
            _let_go()


def die_at_once() -> None:
    """Nothing is left to be taken back: signals end the process without a word from Python."""
    _let_go()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM that an exception is, or comes from; it has the notes of both."""
    notes: list[str] = []
    for found in and_causes(error):
        if isinstance(found, KeyboardInterrupt):
            break
        notes += _notes(found)
    else:
        if isinstance(error, (HarnessError, SystemExit)) or _sigterm.came is None:
            return None
        found = Terminated()
    for note in notes:
        found.add_note(note)
    return found


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def said(stop: KeyboardInterrupt, otherwise: str = "") -> str:
    """The line for an interruption: what its notes say is kept."""
    notes = "; ".join(_notes(stop)) or otherwise
    return one_line(f"interrupted; {notes}" if notes else "interrupted")


def status(stop: KeyboardInterrupt) -> int:
    """The exit status after an interruption, as shells count it."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def tell(line: str) -> None:
    """Print a line on stderr, below the progress bars that are still open."""
    _sigterm.told = True
    bars = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    still = list(getattr(bars, "_instances", ()))
    for bar in still:
        bar.close()
    # a bar below another leaves the cursor behind what it wrote, and so does one whose drawing was
    # interrupted, of which nobody knows any more
    begin = "\r" if still or (bars and line.startswith("interrupted")) else ""
    print(f"{begin}{line}", file=sys.stderr)


def tell_error(error: HarnessError) -> None:
    """Print what a user can put right, without secrets."""
    from harness.secrets import struck  # not needed where all goes well

    tell(f"error: {struck(one_line(error))}")


def show_own_errors_in_one_line() -> None:
    """Print an uncaught ``HarnessError`` and an interruption as one line; all else as before."""
    previous = sys.excepthook
    if getattr(previous, "__module__", "") == __name__:
        return

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        stop = interruption(error)
        if stop is not None:
            tell(said(stop, _KEPT))
            if kind is not KeyboardInterrupt:  # after which Python ends by the signal itself
                raise SystemExit(status(stop))
        elif isinstance(error, HarnessError):
            tell_error(error)
        else:
            previous(kind, error, traceback)

    sys.excepthook = hook
