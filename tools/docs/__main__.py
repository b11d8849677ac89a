"""Runs the pages that show what their commands print, and writes it into them.

python -m tools.docs [PAGE…]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tools.docs.blocks import blocks, pages, with_outputs
from tools.docs.places import ROOT
from tools.docs.running import run


def main(given: list[str]) -> None:
    """Renew outputs in the pages named, else in all that show some."""
    for page in [Path(name) for name in given] or pages(ROOT):
        text = page.read_text(encoding="utf-8")
        if not any(block.shows for block in blocks(text)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            outputs = [output for _, output in run(page, Path(folder), {})]
        page.write_text(with_outputs(text, outputs), encoding="utf-8")
        sys.stdout.write(f"{page}: {len(outputs)} blocks\n")


if __name__ == "__main__":
    main(sys.argv[1:])
