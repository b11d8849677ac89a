"""``harness astral …``: suites made and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="ASTRAL: safety test suites with measured coverage.",
)


@app.callback()
def main() -> None:
    """ASTRAL: safety test suites with measured coverage."""


@app.command()
def show(
    suite: Annotated[Path, typer.Argument(help="Folder of a suite, or a JSONL file of inputs.")],
) -> None:
    """Check a suite, and say what it holds; no prompt is shown."""
    from collections import Counter

    from harness_astral.suite import read_suite

    inputs, manifest = read_suite(suite)
    kinds = Counter(one.kind for one in inputs)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    cells = len({one.cell for one in inputs})
    typer.echo(f"{suite}: {told} in {cells} cells, sha256 {manifest['sha256'][:12]}")
