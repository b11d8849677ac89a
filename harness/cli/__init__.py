"""The command ``harness``: one module a command, plugins' sub-commands beside them."""

from __future__ import annotations

import atexit
import sys

from harness.errors import HarnessError
from harness.host import edge


def main() -> None:
    """Run the command; an error of the user's, and an interruption, is one line on stderr.

    The exit status is 1 after a ``HarnessError``, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        edge.sigterm_interrupts()
        from harness.cli.app import build

        build()(prog_name="harness")
    except BaseException as error:
        stop = edge.interruption(error)
        if stop is not None:
            edge.tell(edge.said(stop))
            sys.exit(edge.status(stop))
        if isinstance(error, HarnessError):
            edge.tell_error(error)
            sys.exit(1)
        raise
    finally:
        atexit.register(edge.die_at_once)
