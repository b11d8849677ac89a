"""The command ``harness``: one module a command, plugins' sub-commands beside them."""

from __future__ import annotations

import sys

from harness.errors import HarnessError, one_line


def main() -> None:
    """Run the command; a ``HarnessError`` is one line on stderr and exit status 1."""
    from harness.cli.app import build

    try:
        build()(prog_name="harness")
    except HarnessError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
