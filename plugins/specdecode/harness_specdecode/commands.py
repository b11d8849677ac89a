"""``harness specdecode …``: speculative decoding measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.host.completing import some_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Speculative decoding: theory beside measurement.",
)


@app.callback()
def _commands() -> None:
    """Speculative decoding: theory beside measurement."""


@app.command()
def bench(
    *,
    target: Annotated[
        str, typer.Option(metavar="MODEL", help="Model id or path, or testbed:teacher.")
    ],
    drafters: Annotated[
        str,
        typer.Option(
            metavar="DRAFTERS",
            help="Comma-separated: model ids or paths, testbed:student, ngram, early:N (the "
            "target's first N layers).",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder of table.csv, report.html, …; appears when it is done."
        ),
    ],
    gammas: Annotated[
        str, typer.Option(metavar="N,…", help="Tokens drafted a round.")
    ] = "1,2,3,5,8",
    schemes: Annotated[
        str,
        typer.Option(
            autocompletion=some_of(("gumbel", "leviathan", "minhash")),
            metavar="SCHEMES",
            help="Some of gumbel, leviathan, minhash.",
        ),
    ] = "gumbel,leviathan",
    batch_sizes: Annotated[str, typer.Option(metavar="N,…", help="Rows decoded together.")] = "1,8",
    prompts: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="hub (Spec-Bench), testbed, or a file in Spec-Bench's form."
        ),
    ] = "hub",
    limit: Annotated[int, typer.Option(help="Prompts to use, categories in turn.")] = 16,
    tokens: Annotated[int, typer.Option(help="Tokens of an answer, at most.")] = 64,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="0 is greedy, where all schemes are one.")
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option(help="Pairs of runs of a way to decode and of plain decoding.")
    ] = 5,
    draws: Annotated[
        int, typer.Option(help="How often a coupling is sampled at a position; 0: not.")
    ] = 100,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Torch device, or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="float32, bfloat16, …, or auto.")
    ] = "auto",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="The target's revision on the hub.")
    ] = "main",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    chat_template: Annotated[
        bool | None,
        typer.Option(
            "--chat-template/--no-chat-template",
            help="Whether prompts are turns of a chat; by default if there is a template.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure ways to decode against plain decoding, beside what theory expects of them.

    Every drafter, draft length, scheme and batch size. Stops and goes on where it was.

    Example: harness specdecode bench --target testbed:teacher --drafters testbed:student,ngram
    --prompts testbed --limit 4 --out bench
    """
    from rich.console import Console

    from harness_specdecode.bench.bench import run
    from harness_specdecode.bench.options import Options, numbers, words
    from harness_specdecode.report import terminal

    options = Options(
        target=target,
        drafters=words(drafters),
        gammas=numbers(gammas, "--gammas"),
        schemes=words(schemes),
        batch_sizes=numbers(batch_sizes, "--batch-sizes"),
        prompts=prompts,
        limit=limit,
        tokens=tokens,
        temperature=temperature,
        repeats=repeats,
        draws=draws,
        out=out,
        device=None if device == "auto" else device,
        dtype=dtype,
        revision=revision,
        seed=seed,
        chat_template=chat_template,
    )
    result = run(options)
    for table in terminal.tables(result.lines):
        Console().print(table)
    typer.echo(
        "accepted, tokens a pass: expected/measured; then speed-ups over plain decoding: by "
        "theorem 3.8, expected at this machine's prices, measured"
    )
    for line in terminal.best(result.lines):
        typer.echo(f"best at {line}")
    typer.echo(f"{out} ({'already there' if result.present else 'written'})")
