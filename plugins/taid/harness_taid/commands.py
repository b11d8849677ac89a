"""``harness taid …``: students distilled from teachers."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="TAID: students distilled from teachers.",
)


@app.callback()
def _group() -> None:
    """TAID: students distilled from teachers."""


@app.command()
def objectives() -> None:
    """Show the objectives, with their settings and defaults."""
    from harness_taid.objectives import NAMES, described

    for name in NAMES:
        print(f"{name:12}{described(name)}")
