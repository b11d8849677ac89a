"""The command's edge: errors the user can put right are one line there, not a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from harness.errors import HarnessError, one_line
from harness.secrets import struck


def show_own_errors_in_one_line() -> None:
    """Print an uncaught ``HarnessError`` and Ctrl-C as one line; all else as before."""
    previous = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, HarnessError):
            print(f"error: {struck(one_line(error))}", file=sys.stderr)
        elif isinstance(error, KeyboardInterrupt):
            kept = "what response_cache= and judges keep is not asked again"
            print(f"interrupted; {kept}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    sys.excepthook = hook
