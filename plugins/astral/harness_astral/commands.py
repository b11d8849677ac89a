"""``harness astral …``: suites made and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.host.completing import one_of
from harness_astral.report.command import report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="ASTRAL: safety test suites with measured coverage.",
)


app.command()(report)


@app.callback()
def main() -> None:
    """ASTRAL: safety test suites with measured coverage."""


@app.command()
def show(
    suite: Annotated[Path, typer.Argument(help="Folder of a suite, or a JSONL file of inputs.")],
) -> None:
    """Check a suite, and say what it holds; no prompt is shown.

    Example: harness astral show suite
    """
    from collections import Counter

    from harness_astral.suites.suite import read_suite

    inputs, manifest = read_suite(suite)
    kinds = Counter(one.kind for one in inputs)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    cells = len({one.cell for one in inputs})
    typer.echo(f"{suite}: {told} in {cells} cells, sha256 {manifest['sha256'][:12]}")


@app.command("coverage")
def coverage_(
    suite: Annotated[
        Path | None,
        typer.Argument(help="Folder of a suite, or a JSONL file; else a plan.", show_default=False),
    ] = None,
    *,
    factors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own factors (YAML); default: the paper's."),
    ] = None,
    strength: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("full", "1", "2", "3")),
            metavar="STRENGTH",
            help="Of a plan: full, 1, 2 or 3.",
        ),
    ] = "full",
    replicates: Annotated[int, typer.Option(help="Of a plan: inputs a cell.")] = 3,
) -> None:
    """Show how many combinations of levels a suite, or a plan, covers; nothing is generated.

    Example: harness astral coverage --strength 2
    """
    from harness_astral.requests import PROBE
    from harness_astral.suites import coverage
    from harness_astral.suites.factors import PAPER, read_factors
    from harness_astral.suites.suite import read_suite

    known = read_factors(factors or PAPER)
    if suite is None:
        planned = coverage.plan(known.sizes, strength, replicates)
        cells = list(planned.cells)
        typer.echo(str(planned))
    else:
        probes = [one for one in read_suite(suite)[0] if one.kind == PROBE]
        cells = [coverage.cell_of(one, known) for one in probes]
        typer.echo(f"{suite}: {len(cells)} probes in {len(set(cells))} cells")
    for t in (1, 2, 3):
        typer.echo(f"{t}-wise: {coverage.t_wise(cells, known.sizes, t)}")
    even = zip(known.names(), coverage.balance(cells, known.sizes), strict=True)
    typer.echo("inputs a level: " + ", ".join(f"{name} {a} to {b}" for name, (a, b) in even))


@app.command()
def generate(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the suite; appears when it is done.")
    ],
    generator: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="An lm-eval model's name (testbed-writer, …), or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}.',
        ),
    ],
    seeds: Annotated[
        str,
        typer.Option(
            metavar="SEEDS",
            help="A table: category, text[, id]; or placeholder (mild texts to try things out "
            "with), or testbed.",
        ),
    ],
    factors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own factors (YAML); default: the paper's."),
    ] = None,
    strength: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("full", "1", "2", "3")),
            metavar="STRENGTH",
            help="full: every cell; 1, 2 or 3: every combination of so many levels.",
        ),
    ] = "full",
    replicates: Annotated[int, typer.Option(help="Inputs a cell.")] = 3,
    variant: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("rag", "rag_fs", "rag_fs_ts")),
            metavar="VARIANT",
            help="rag (seeds), rag_fs (and examples), rag_fs_ts (and the web).",
        ),
    ] = "rag_fs",
    benign: Annotated[
        bool, typer.Option("--benign", help="Also a harmless counterpart of each input.")
    ] = False,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A classifier (name or JSON) that names each input's style and technique.",
        ),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option(
            autocompletion=one_of(("tavily", "ddgs")),
            metavar="PROVIDER",
            help="Search the web by tavily (TAVILY_API_KEY) or ddgs; for rag_fs_ts.",
        ),
    ] = None,
    snippets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A suite's snippets.jsonl, in place of the web."),
    ] = None,
    retrieved: Annotated[int, typer.Option(help="Seeds that the generator sees.")] = 3,
    found: Annotated[int, typer.Option(help="Snippets searched for, a category.")] = 10,
    shown: Annotated[int, typer.Option(help="Snippets that the generator sees.")] = 2,
    retries: Annotated[
        int, typer.Option(help="How often what was refused or is a duplicate is asked for again.")
    ] = 3,
    max_missing: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Largest share of inputs that may stay unwritten."),
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 42,
) -> None:
    """Make a suite: test inputs for every cell, frozen with their coverage.

    Stops and goes on where it was: an accepted answer is not asked for again.

    Example: harness astral generate --generator testbed-writer --seeds testbed --strength 1
    --replicates 1 --out suite
    """
    from rich.console import Console

    from harness.artefacts.recipes import costs_table
    from harness.asking.desk import writer_spec
    from harness.errors import one_line
    from harness_astral.generation import generate
    from harness_astral.generation.manifest import summary
    from harness_astral.generation.options import TOKENS, Options
    from harness_astral.suites.factors import PAPER

    made = generate.generate(
        Options(
            out=out,
            generator=writer_spec(generator, TOKENS, "--generator"),
            seeds=seeds,
            factors=factors or PAPER,
            strength=strength,
            replicates=replicates,
            variant=variant,
            benign=benign,
            verify=writer_spec(verify, option="--verify") if verify else None,
            web=web,
            snippets=snippets,
            retrieved=retrieved,
            found=found,
            shown=shown,
            retries=retries,
            max_missing=max_missing,
            seed=seed,
        ),
        say=lambda text: typer.echo(text, err=True),
    )
    Console().print(costs_table(made.manifest.get("costs", {})))
    state = "already there" if made.already_there else "written"
    typer.echo(f"{made.folder} ({state}): {one_line(summary(made.manifest))}")
