"""``harness factcg …``: claims checked, training pairs generated, checkers trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="FactCG: fact checks, CG2C data and training.",
)


@app.command()
def generate(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the pairs; appears when it is done.")],
    writer: Annotated[
        str,
        typer.Option(
            help="An lm-eval model's name (testbed-writer, …), or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}.'
        ),
    ],
    kind: Annotated[
        str, typer.Option(help="doc (from documents) or mhqa (from multi-hop questions).")
    ] = "doc",
    source: Annotated[
        str,
        typer.Option(
            help="hub, testbed, or a file: a table with a column doc, a .txt with a document a "
            "line; for mhqa rows in the form of MuSiQue or HotpotQA."
        ),
    ] = "hub",
    items: Annotated[
        int | None, typer.Option(help="Documents or questions to use; default all (testbed: 500).")
    ] = None,
    hops: Annotated[str, typer.Option(help="Lengths of the paths of doc's claims.")] = "2,3",
    per_document: Annotated[int, typer.Option(help="Claims of a document, at most (doc).")] = 1,
    hard_filter: Annotated[
        str | None,
        typer.Option(
            help="A fact checker (hub, folder, testbed:checker): keep what it gets wrong."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 42,
    max_missing: Annotated[
        float, typer.Option(help="Largest share of unanswered questions in a step.")
    ] = 0.1,
) -> None:
    """Make CG2C pairs: claims on several connected facts, and texts without one of these.

    Stops and goes on where it was: an accepted answer is not asked for again.
    """
    from rich.console import Console

    from harness.writers import writer_spec
    from harness_factcg import generated, generation

    made = generation.generate(
        generation.Options(
            out=out,
            writer=writer_spec(writer, generation.TOKENS),
            kind=generation.kind_of(kind),
            source=source,
            items=items,
            hops=generation.numbers(hops),
            per_document=per_document,
            seed=seed,
            max_missing=max_missing,
            hard_filter=hard_filter,
        ),
        say=lambda text: typer.echo(text, err=True),
    )
    for table in generated.tables(made):
        Console().print(table)
    state = "already there" if made.already_there else "written"
    typer.echo(f"{made.file} ({state}): {generated.summary(made)}")
    typer.echo(f"lengths: {generated.gap(made)}")
