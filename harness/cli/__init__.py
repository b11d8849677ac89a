"""The command ``harness``: one module a command, plugins' sub-commands beside them."""

from __future__ import annotations

import sys

from harness.errors import HarnessError, one_line
from harness.secrets import struck

_INTERRUPTED = 130


def main() -> None:
    """Run the command; a ``HarnessError`` is one line on stderr and exit status 1."""
    from harness.cli.app import build

    try:
        build()(prog_name="harness")
    except HarnessError as error:
        print(f"error: {struck(one_line(error))}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer turns Ctrl-C into this, without a word
            print("interrupted; the same command again goes on with what is kept", file=sys.stderr)
        raise
