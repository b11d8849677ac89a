"""``harness factcg …``: claims checked, training pairs folder, checkers trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.host.completing import one_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="FactCG: fact checks, CG2C data and train.",
)


@app.command()
def score(
    document: Annotated[
        str | None,
        typer.Argument(
            metavar="DOC", help="A text, a text file, or - for stdin.", show_default=False
        ),
    ] = None,
    claim: Annotated[
        str | None,
        typer.Argument(metavar="CLAIM", help="What it is to support.", show_default=False),
    ] = None,
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="The fact checker: a name on the hub, a folder, or testbed:checker (which knows "
            "the testbed's small English only).",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="A table (.jsonl, .json, .csv, .parquet): doc, claim[, label, dataset, id].",
            show_default=False,
        ),
    ] = None,
    model_args: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE,…",
            help="Further arguments of hf-fact-checker: device=cuda,dtype=bfloat16,…",
        ),
    ] = "",
    threshold: Annotated[
        float,
        typer.Option(metavar="SCORE", min=0, max=1, help="Score above which a claim is supported."),
    ] = 0.5,
    explain: Annotated[
        bool,
        typer.Option(
            help="Find the sentences that a verdict rests on: about one more prompt for each "
            "sentence of the chunk that decided."
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of report.html, score.jsonl and score.csv; appears when it is done.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The report's heading.")] = "Fact check",
) -> None:
    """Check claims against documents, and show the sentences that each verdict rests on.

    One claim: DOC CLAIM. Many: --data FILE. With --data, scores are kept in the cache as they come:
    the same command again goes on where it was.

    Example: harness factcg score "The red cat sleeps." "The cat is red." --model testbed:checker
    """
    from rich.console import Console

    from harness_factcg.report import score

    score.run(
        score.Options(
            document=document,
            claim=claim,
            data=data,
            model=model,
            model_args=model_args,
            threshold=threshold,
            explained=explain,
            out=out,
            title=title,
        ),
        Console(),
    )


@app.command()
def generate(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the pairs; appears when it is done.")
    ],
    writer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="An lm-eval model's name (testbed-writer, …), or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}.',
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("doc", "mhqa")),
            metavar="KIND",
            help="doc (from documents) or mhqa (from multi-hop questions).",
        ),
    ] = "doc",
    source: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="hub, testbed, or a file: a table with a column doc, a .txt with a document a "
            "line; for mhqa rows in the form of MuSiQue or HotpotQA.",
        ),
    ] = "hub",
    items: Annotated[
        int | None, typer.Option(help="Documents or questions to use; default all (testbed: 500).")
    ] = None,
    hops: Annotated[
        str, typer.Option(metavar="N,…", help="Lengths of the paths of doc's claims.")
    ] = "2,3",
    per_document: Annotated[int, typer.Option(help="Claims of a document, at most (doc).")] = 1,
    hard_filter: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A fact checker (hub, folder, testbed:checker): keep what it gets wrong.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 42,
    max_missing: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Largest share of unanswered questions in a step."),
    ] = 0.1,
) -> None:
    """Make CG2C pairs: claims on several connected facts, and texts without one of these.

    Stops and goes on where it was: an accepted answer is not asked for again.

    Example: harness factcg generate --writer testbed-writer --source testbed --items 20 --out pairs
    """
    from rich.console import Console

    from harness.asking.desk import writer_spec
    from harness_factcg.generation import folder, generate

    made = generate.generate(
        generate.Options(
            out=out,
            writer=writer_spec(writer, generate.TOKENS),
            kind=generate.kind_of(kind),
            source=source,
            items=items,
            hops=generate.numbers(hops),
            per_document=per_document,
            seed=seed,
            max_missing=max_missing,
            hard_filter=hard_filter,
        ),
        say=lambda text: typer.echo(text, err=True),
    )
    for table in folder.tables(made):
        Console().print(table)
    state = "already there" if made.already_there else "written"
    typer.echo(f"{made.file} ({state}): {folder.summary(made)}")
    typer.echo(f"lengths: {folder.gap(made)}")


@app.command()
def train(
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the checkpoint; appears when it is done."),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Hub id or folder of an encoder, a FLAN-T5 or a checker; testbed:checker; or "
            "scratch:LAYERSxHIDDEN, such as scratch:3x64, for random weights.",
        ),
    ],
    stage1: Annotated[
        str,
        typer.Option(
            metavar="FILES",
            help="Comma-separated files of general pairs: CG2C, or doc,claim,label.",
        ),
    ] = "",
    stage2: Annotated[
        str, typer.Option(metavar="FILES", help="Files of the second stage, on documents.")
    ] = "",
    dev: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="Files to choose the checkpoint on; default a share of each stage."
        ),
    ] = "",
    dev_share: Annotated[float, typer.Option(metavar="SHARE", help="That share.")] = 0.05,
    skip_withheld: Annotated[
        bool,
        typer.Option(
            "--skip-withheld",
            help="Leave out released rows whose document is withheld (text_a is empty).",
        ),
    ] = False,
    epochs: Annotated[int, typer.Option(help="Passes over each stage's rows.")] = 1,
    lr: Annotated[float, typer.Option(metavar="RATE", help="Highest learning rate.")] = 5e-5,
    warmup: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the steps in which it rises.")
    ] = 0.06,
    batch_size: Annotated[int, typer.Option(help="Rows a step, over all processes.")] = 48,
    device_batch_size: Annotated[
        int, typer.Option(help="Rows a process reads at once; bounds memory, changes nothing else.")
    ] = 8,
    max_length: Annotated[int, typer.Option(help="Tokens of a prompt, at most.")] = 2048,
    chunk_size: Annotated[int, typer.Option(help="Word tokens of a chunk at inference.")] = 550,
    dtype: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("float32", "bfloat16")),
            metavar="DTYPE",
            help="float32, or bfloat16 (autocast).",
        ),
    ] = "float32",
    evaluations: Annotated[int, typer.Option(help="Evaluations and checkpoints a stage.")] = 10,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, or cpu.")] = "auto",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="The model's revision on the hub.")
    ] = "main",
    seed: Annotated[int, typer.Option(help="Of the split, the order, a new head, dropout.")] = 2024,
) -> None:
    """Train a fact checker in one or two stages; the best checkpoint on dev is kept.

    Stops and goes on where it was. Several GPUs: accelerate launch -m harness factcg train …

    Example: harness factcg train --model testbed:checker --stage1 pairs/cg2c.jsonl --out checker
    """
    from harness_factcg.training import train
    from harness_factcg.training.options import Options

    made = train.train(
        Options(
            out=out,
            model=model,
            stage1=_paths(stage1),
            stage2=_paths(stage2),
            dev=_paths(dev),
            dev_share=dev_share,
            skip_withheld=skip_withheld,
            epochs=epochs,
            rate=lr,
            warmup=warmup,
            batch_size=batch_size,
            device_batch_size=device_batch_size,
            max_length=max_length,
            chunk_size=chunk_size,
            dtype=dtype,
            evaluations=evaluations,
            device=device,
            revision=revision,
            seed=seed,
        )
    )
    if made.in_charge:
        state = "already there" if made.present else "written"
        typer.echo(f"{made.folder} ({state}): {train.summary(made)}")
        if train.at_chance(made):
            typer.echo("warning: on dev it is no better than chance: it learnt nothing", err=True)


def _paths(files: str) -> tuple[Path, ...]:
    """The files of a comma-separated list."""
    return tuple(Path(name.strip()) for name in files.split(",") if name.strip())
