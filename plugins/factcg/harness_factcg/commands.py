"""``harness factcg …``: claims checked, training pairs generated, checkers trained."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="FactCG: fact checks, CG2C data and training.",
)
