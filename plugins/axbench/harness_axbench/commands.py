"""``harness axbench …``: dictionaries made, exchanged and looked into; data; reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import DataError
from harness.host.completing import one_of, some_of
from harness.reports.values import counted, printable

if TYPE_CHECKING:
    from harness_axbench.dictionary.folder import Dictionary

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="AxBench: steering dictionaries, concept data and reports.",
)


@app.command()
def train(
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the dictionary; appears when it is done."),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model id or path, or testbed:teacher.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Block whose output is read, from 0.")] = None,
    methods: Annotated[
        str,
        typer.Option(
            autocompletion=some_of("harness_axbench.methods:NAMES"),
            metavar="METHODS",
            help="Comma-separated names, or all; see the plugin's README.",
        ),
    ] = "diffmean",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SETTING",
            help="METHOD.NAME=VALUE: a setting that differs from the paper's.",
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="hub, another data set there (pyvene/axbench-concept500), testbed, or a folder of "
            "AxBench files.",
        ),
    ] = "hub",
    subset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Subset of the hub's data set, such as prod_2b_l20_v1."),
    ] = None,
    normalise: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("none", "unit", "standardise")),
            metavar="SCALE",
            help="none (as the paper), unit or standardise: put states on one scale before "
            "diffmean, pca, lat and probe learn from them.",
        ),
    ] = "none",
    max_act_from: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("eval", "train")),
            metavar="SPLIT",
            help="eval (as the paper) or train (without its leak).",
        ),
    ] = "eval",
    batch_size: Annotated[int, typer.Option(help="Texts in a forward pass.")] = 8,
    shard_size: Annotated[
        int, typer.Option(help="Concepts trained together; bounds memory, changes nothing else.")
    ] = 16,
    executor: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("local", "ray")),
            metavar="NAME",
            help="local (also accelerate launch), or ray.",
        ),
    ] = "local",
    workers: Annotated[int, typer.Option(help="Ray's workers; 0: one a GPU, or one a core.")] = 0,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Torch device, or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="float32, bfloat16, …, or auto.")
    ] = "auto",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="The model's revision on the hub.")
    ] = "main",
    add_bos_token: Annotated[
        bool | None,
        typer.Option(
            help="Put a beginning-of-sequence token before texts, or none, as lm-eval's argument "
            "of that name; default as the tokenizer does.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the methods that draw.")] = 42,
    seeds: Annotated[
        int,
        typer.Option(
            help="Learn with so many seeds, from --seed on; keep the first's vectors and say how "
            "far detection depends on the seed."
        ),
    ] = 1,
) -> None:
    """Train every method for all concepts, from one pass over the texts.

    Stops and goes on where it was; the dictionary appears when it is whole.

    Example: harness axbench train --model testbed:teacher --layer 1 --methods diffmean,reft_r1
    --data testbed --out steering
    """
    from harness_axbench.methods import listed
    from harness_axbench.options import run_options
    from harness_axbench.training import train as training
    from harness_axbench.training.options import Options, parse_settings

    metadata = {"axbench_data": data}
    if data not in ("hub", "testbed") and not Path(data).expanduser().exists():
        if data.count("/") != 1 or data.startswith((".", "/", "~")):
            raise DataError(
                f"--data {data}: there is no such folder; pass hub, testbed, or a folder"
            )
        metadata = {"axbench_data": "hub", "axbench_hub": data}
    if subset:
        metadata["axbench_subset"] = subset
    options = Options(
        methods=listed(methods),
        settings=parse_settings(settings or []),
        out=out,
        model=model,
        layer=layer,
        run=run_options(metadata),
        normalise=normalise,
        max_act_from=max_act_from,
        batch_size=batch_size,
        shard_size=shard_size,
        executor=executor,
        workers=workers,
        device=device,
        dtype=dtype,
        revision=revision,
        add_bos_token=add_bos_token,
        seed=seed,
        seeds=seeds,
    )
    before = out.exists()
    made = training.train(options)
    state = "already there" if before else "written"
    typer.echo(
        f"{made.folder} ({state}): {len(made.concepts)} concepts, {', '.join(made.methods)}, "
        f"sha256 {made.sha256[:12]}"
    )
    _print_doubt(made)
    _print_spread(made)


def _print_doubt(found: Dictionary) -> None:
    from harness_axbench.dictionary.lengths import doubt

    said = doubt(found)
    if said is not None:
        typer.echo(said)


def _print_spread(found: Dictionary) -> None:
    from rich.console import Console

    from harness_axbench.dictionary.inspection import seeds_table

    table = seeds_table(found)
    if table is not None:
        Console().print(table)


@app.command("import")
def import_(
    *,
    source: Annotated[
        str,
        typer.Option("--from", metavar="PLACE", help="File or folder, or a repository on the hub."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the dictionary; appears when it is done."),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            autocompletion=one_of(("auto", "axbench", "lm-eval", "repeng")),
            metavar="FORMAT",
            help="auto, axbench, lm-eval or repeng.",
        ),
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The vectors' model: id or path, or testbed:teacher."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Their block, from 0; or the one to take of several.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Their method; or the one to take of several."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The concept, for a file of one vector.")] = None,
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="Revision on the hub.")
    ] = "main",
) -> None:
    """Make a dictionary of vectors from elsewhere: AxBench's, lm-eval's, or a control vector.

    Example: harness axbench import --from vector.gguf --model testbed:teacher --out steering
    """
    from harness_axbench.exchange.formats import Options
    from harness_axbench.exchange.importing import bring_in

    before = out.exists()
    made = bring_in(
        Options(
            source=source,
            out=out,
            format=form,
            model=model,
            layer=layer,
            method=method,
            text=text,
            revision=revision,
        )
    )
    state = "already there" if before else "written"
    typer.echo(
        f"{made.folder} ({state}): {len(made.concepts)} concepts, {', '.join(made.methods)}, "
        f"layer {made.layer}, sha256 {made.sha256[:12]}"
    )


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a dictionary.")],
    *,
    concept: Annotated[int, typer.Option(help="The concept's id.")],
    factor: Annotated[float, typer.Option(help="Strength, in units of max_act.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The steer file, .pt.")],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="One of the dictionary's methods; needed if it has several."
        ),
    ] = None,
    action: Annotated[str, typer.Option(metavar="ACTION", help="add or clamp.")] = "add",
    hook: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The block's name, such as layers.20; else the model says it."
        ),
    ] = None,
) -> None:
    """Write one concept at one strength for lm-eval's own model: --model steered.

    Example: harness axbench export steering --concept 3 --factor 1.5 --method diffmean --out
    steer.pt
    """
    from harness_axbench.dictionary.folder import read
    from harness_axbench.exchange.steer_file import write

    path = write(
        read(folder),
        method=method,
        concept=concept,
        factor=factor,
        out=out,
        action=action,
        hook=hook,
    )
    typer.echo(f"{path}: run it with: lm_eval --model steered --model_args …,steer_path={path}")


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="Folder of a dictionary.")],
    *,
    method: Annotated[
        str | None, typer.Option(metavar="METHOD", help="One method; else all with vectors.")
    ] = None,
    concept: Annotated[int | None, typer.Option(help="One concept's id; else all.")] = None,
    neighbours: Annotated[int, typer.Option(help="How many nearest concepts to name.")] = 3,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all vectors' rows to this file.")
    ] = None,
) -> None:
    """Show a dictionary: model, layer, norms, max_act, nearest concepts; check its files.

    Example: harness axbench inspect steering --method diffmean
    """
    from rich.console import Console

    from harness_axbench.dictionary import inspection
    from harness_axbench.dictionary.folder import read

    found = read(folder)
    files = inspection.verified(found)
    lines = inspection.vectors(
        found, methods=[method] if method else None, concept=concept, neighbours=neighbours
    )
    for line in inspection.summary(found, files):
        typer.echo(line)
    if csv is not None:
        inspection.write_csv(lines, csv)
        typer.echo(f"  written  {csv}")
        return
    _print_doubt(found)
    _print_spread(found)
    console = Console()
    for table in inspection.tables(lines):
        console.print()
        console.print(table)


@app.command()
def generate(
    *,
    concepts: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A concept a line (.txt), or a table: concept[, concept_id, ref, genre].",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the data; appears when it is done.")
    ],
    writer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="An lm-eval model's name (testbed-writer, …), or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}.',
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model whose greedy answers are the training negatives: a transformers "
            "model's id or path, testbed:teacher, or any lm-eval model as JSON.",
        ),
    ] = None,
    negatives_from: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("target", "writer")),
            metavar="SOURCE",
            help="target (as the paper), or writer: needs no --target.",
        ),
    ] = "target",
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Whose tokens texts are cut by; default: the target's."),
    ] = None,
    instructions: Annotated[
        str, typer.Option(metavar="DATA", help="hub, testbed, or a table: instruction[, genre].")
    ] = "hub",
    steering_instructions: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="hub, testbed, or a table: becomes alpaca_eval.json, for axbench_steer.",
        ),
    ] = None,
    genres: Annotated[
        str, typer.Option(metavar="GENRES", help="Genres of concepts.")
    ] = "text,code,math",
    train_per_concept: Annotated[int, typer.Option(help="Training positives a concept.")] = 72,
    negatives_per_genre: Annotated[int, typer.Option(help="Training negatives a genre.")] = 72,
    eval_per_concept: Annotated[
        int, typer.Option(help="Detection positives a concept; as many negatives.")
    ] = 36,
    hard_per_concept: Annotated[int, typer.Option(help="Hard negatives a concept, at most.")] = 9,
    kept_tokens: Annotated[int, typer.Option(help="Tokens kept of a writer's response.")] = 128,
    target_tokens: Annotated[int, typer.Option(help="Tokens of a training negative.")] = 192,
    seed: Annotated[int, typer.Option(help="Seed of the draws of instructions.")] = 42,
    max_missing: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Largest share of unanswered questions, a step or a concept."
        ),
    ] = 0.1,
) -> None:
    """Make concept data: a writer's positives and negatives, and the target's own answers.

    Stops and goes on where it was: an accepted answer is not asked for again.

    Example: harness axbench generate --concepts concepts.txt --writer testbed-writer
    --negatives-from writer --tokenizer testbed:teacher --instructions testbed --out concept-data
    """
    from rich.console import Console

    from harness.asking.desk import writer_spec
    from harness_axbench.generation import folder as generated
    from harness_axbench.generation import generate, writers
    from harness_axbench.generation.pipeline import Sizes

    made = generate.generate(
        generate.Options(
            concepts=concepts,
            out=out,
            writer=writer_spec(writer),
            target=writers.chosen_target(target, negatives_from, target_tokens),
            tokenizer=tokenizer,
            instructions=instructions,
            steering_instructions=steering_instructions,
            genres=[name.strip() for name in genres.split(",")],
            sizes=Sizes(
                train_per_concept=train_per_concept,
                negatives_per_genre=negatives_per_genre,
                eval_per_concept=eval_per_concept,
                hard_per_concept=hard_per_concept,
                kept_tokens=kept_tokens,
                target_tokens=target_tokens,
            ),
            seed=seed,
            max_missing=max_missing,
        ),
        say=lambda text: typer.echo(text, err=True),
    )
    for table in generated.tables(made):
        Console().print(table)
    state = "already there" if made.already_there else "written"
    typer.echo(f"{made.folder} ({state}): {generated.summary(made)}")


@app.command()
def show(
    runs: Annotated[
        list[Path], typer.Argument(help="Results files, or folders to search at any depth.")
    ],
    *,
    concepts: Annotated[int, typer.Option(min=1, help="Concepts to show, at most.")] = 2,
    short: Annotated[
        bool, typer.Option("--short", help="A line an answer, cut at the screen's width.")
    ] = False,
) -> None:
    """Print what methods wrote beside what the model writes by itself, from their samples.

    Example: harness axbench show results/ --concepts 2
    """
    from rich.console import Console

    from harness_axbench.report import read_runs
    from harness_axbench.report.sentences import beside, table

    found = read_runs(runs)
    for reason in found.left_out:
        typer.echo(printable(f"left out: {reason}"), err=True)
    console = Console(highlight=False)
    console.print(table(beside(found, concepts), console.width if short else None))


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Results files, or folders to search at any depth.")
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of report.html and its CSV files.")
    ],
    title: Annotated[str, typer.Option(help="The page's heading.")] = "AxBench",
    view: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Link runs to their samples in this folder of harness view.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw runs: methods compared, ROC curves, factor curves, concepts; from their samples.

    Example: harness axbench report results/ --out report
    """
    from harness.reports.page import check_view
    from harness_axbench.report import read_runs, write_report

    if view is not None:
        check_view(view)
    found = read_runs(runs)
    for reason in found.left_out:
        typer.echo(printable(f"left out: {reason}"), err=True)
    page = write_report(found, out, title=title, view=view)
    series = sum(len(section.series) for section in found.sections)
    told = f"{counted(series, 'method')} in {counted(len(found.sections), 'section')}"
    typer.echo(f"{page}: {told}")
