"""``harness testbed``: where the embedded models are, and the embedded data as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness import testbed
from harness.artefacts.writing import appearing, write_lines
from harness.errors import HarnessError
from harness.host.completing import one_of

app = typer.Typer(no_args_is_help=True, help="The embedded models and data.")


@app.command()
def path(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=one_of((*testbed.MODELS, *testbed.PRETRAINED)),
            help="teacher, student or checker; smollm2 or minilm",
        ),
    ],
) -> None:
    """Print the folder of a model, for example: pretrained=$(harness testbed path teacher).

    Example: harness testbed path teacher
    """
    typer.echo(str(testbed.model_path(name)))


@app.command()
def export(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write the data as files with the columns of the data sets they stand in for.

    Example: harness testbed export testbed-data
    """
    if folder.exists():
        raise HarnessError(f"testbed export: {folder} exists already; name a new folder")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise HarnessError(f"testbed export: there is no folder {parent}; make it first")
    with appearing(folder) as draft:
        _write_all(draft)
    typer.echo(f"wrote {', '.join(sorted(file.name for file in folder.iterdir()))} to {folder}")


def _write_all(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    from harness.testbed.english import corpus

    parquet.write_table(pa.Table.from_pylist(corpus.concept_train()), folder / "train_data.parquet")
    parquet.write_table(
        pa.Table.from_pylist(corpus.concept_eval()), folder / "latent_eval_data.parquet"
    )
    write_lines(folder / "metadata.jsonl", corpus.concept_metadata())
    instructions = json.dumps(corpus.instructions(), indent=1) + "\n"
    (folder / "alpaca_eval.json").write_text(instructions, encoding="utf-8")
    write_lines(folder / "dev.jsonl", corpus.claims("dev"))
    write_lines(folder / "test.jsonl", corpus.claims("test"))
    write_lines(folder / "requests.jsonl", corpus.refusal_requests())
