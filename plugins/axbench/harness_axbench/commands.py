"""``harness axbench …``: train a steering dictionary, and show what one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="AxBench: steering dictionaries."
)


@app.command()
def train(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the dictionary; appears when it is done.")],
    model: Annotated[str | None, typer.Option(help="Model id or path, or testbed:teacher.")] = None,
    layer: Annotated[int | None, typer.Option(help="Block whose output is read, from 0.")] = None,
    methods: Annotated[
        str, typer.Option(help="Comma-separated: diffmean, random, bow.")
    ] = "diffmean",
    data: Annotated[str, typer.Option(help="hub, testbed, or a folder of AxBench files.")] = "hub",
    subset: Annotated[
        str | None, typer.Option(help="Subset of the hub's data set, such as prod_2b_l20_v1.")
    ] = None,
    max_act_from: Annotated[
        str, typer.Option(help="eval (as the paper) or train (without its leak).")
    ] = "eval",
    batch_size: Annotated[int, typer.Option(help="Texts in a forward pass.")] = 8,
    device: Annotated[str, typer.Option(help="Torch device, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, …, or auto.")] = "auto",
    revision: Annotated[str, typer.Option(help="The model's revision on the hub.")] = "main",
    seed: Annotated[int, typer.Option(help="Seed of the methods that draw.")] = 42,
) -> None:
    """Train one vector a concept for each method, from one pass over the texts."""
    from harness_axbench.training import Options
    from harness_axbench.training import train as run

    metadata: dict[str, Any] = {"axbench_data": data}
    if subset:
        metadata["axbench_subset"] = subset
    options = Options(
        methods=[name.strip() for name in methods.split(",") if name.strip()],
        out=out,
        model=model,
        layer=layer,
        metadata=metadata,
        max_act_from=max_act_from,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        revision=revision,
        seed=seed,
    )
    before = out.exists()
    made = run(options)
    state = "already there" if before else "written"
    typer.echo(
        f"{made.folder} ({state}): {len(made.concepts)} concepts, {', '.join(made.methods)}, "
        f"sha256 {made.sha256[:12]}"
    )


@app.command()
def show(folder: Annotated[Path, typer.Argument(help="Folder of a dictionary.")]) -> None:
    """Show a dictionary: its model, layer, methods, and max_act of every concept."""
    from rich.console import Console
    from rich.table import Table

    from harness_axbench.dictionary import VECTORS, read

    found = read(folder)
    model = found.manifest["model"]
    site = f"{model['name']}, layer {found.layer}" if model else "texts only"
    table = Table(title=f"{folder}: {site}, sha256 {found.sha256[:12]}")
    table.add_column("concept", justify="right")
    table.add_column("genre")
    table.add_column("text", overflow="fold")
    steering = [name for name in found.methods if found.facts(name)["kind"] == VECTORS]
    for name in steering:
        table.add_column(f"max_act {name}", justify="right")
    for place, concept in enumerate(found.concepts):
        acts = [f"{found.facts(name)['max_act'][place]:.2f}" for name in steering]
        table.add_row(str(concept.id), concept.genre, concept.text, *acts)
    Console().print(table)
