"""``harness majority …``."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main() -> None:
    """Self-consistency: rows that are asked."""


@app.command()
def rows(
    limit: Annotated[int, typer.Option(min=1, help="Rows to show, at most.")] = 3,
) -> None:
    """Show the embedded rows.

    Example: harness majority rows --limit 2
    """
    from harness_majority.data import sums  # here, and no sooner: the shell completes fast

    for row in list(sums().rows)[:limit]:
        typer.echo(f"{row['question']} {row['answer']}")
