"""Runs the pages that show what their commands print, and writes it into them.

python -m tools.docs [PAGE…]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tools.docs.blocks import blocks, pages, with_outputs
from tools.docs.places import ROOT
from tools.docs.running import run

sys.path.append(str(ROOT / "tests"))  # commands are forked from one process, as the tests do


def main(given: list[str]) -> None:
    """Renew outputs in the pages named, else in all that show some."""
    with tempfile.TemporaryDirectory() as folder:
        shell = import_module("shell").Shell(Path(folder))
        for page in [Path(name) for name in given] or pages(ROOT):
            text = page.read_text(encoding="utf-8")
            if any(block.shows for block in blocks(text)):
                began = time.monotonic()
                outputs = _outputs(page, shell.environment)
                page.write_text(with_outputs(text, outputs), encoding="utf-8")
                sys.stdout.write(f"{page}: {time.monotonic() - began:.0f} s\n")
                sys.stdout.flush()
        shell.close()


def _outputs(page: Path, environment: Mapping[str, str]) -> list[str | None]:
    with tempfile.TemporaryDirectory() as folder:
        return [output for _, output in run(page, Path(folder), environment)]


if __name__ == "__main__":
    main(sys.argv[1:])
