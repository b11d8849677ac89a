"""Cells of concept data that are no texts or no numbers: one line with the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness_axbench.commands import app
from harness_axbench.data import concepts
from harness_axbench.options import run_options
from pyarrow import parquet
from typer.testing import CliRunner

from axbench.conftest import write_data
from harness.errors import DataError, HarnessError


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def changed(folder: Path, table: str, ext: str, column: str, value: Any, row: int = 4) -> Path:
    """The small data set with one cell of another kind."""
    write_data(folder)
    path = folder / f"{table}.jsonl"
    rows = rows_of(path)
    rows[row - 1][column] = value
    if ext == "parquet":
        path.unlink()
        parquet.write_table(pa.Table.from_pylist(rows), folder / f"{table}.parquet")
    else:
        path.write_text("".join(json.dumps(own) + "\n" for own in rows))
    return folder


def load(folder: Path) -> concepts.ConceptData:
    return concepts.load(run_options({"axbench_data": str(folder)}))


@pytest.mark.parametrize("ext", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("table", "column", "value", "says"),
    [
        ("train_data", "output", None, "row 4 of the training data has no output"),
        ("latent_eval_data", "input", None, "row 4 of the evaluation data has no input"),
        ("latent_eval_data", "concept_id", None, "row 4 of the evaluation data has no concept_id"),
    ],
)
def test_empty_cells(
    tmp_path: Path, ext: str, table: str, column: str, value: Any, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        load(changed(tmp_path, table, ext, column, value))


@pytest.mark.parametrize(
    ("table", "column", "value", "says"),
    [
        ("train_data", "output", ["a"], "row 4 of the training data: output is a list, not a text"),
        ("train_data", "input", 5, "row 4 of the training data: input is a int, not a text"),
        ("train_data", "concept_genre", {}, "training data: concept_genre is a dict, not a text"),
        ("latent_eval_data", "category", [], "evaluation data: category is a list, not a text"),
        ("train_data", "concept_id", "one", "training data: concept_id is 'one', not a number"),
        ("train_data", "concept_id", True, "training data: concept_id is True, not a number"),
        ("train_data", "concept_id", 1.5, "training data: concept_id is 1.5, not a number"),
        ("train_data", "concept_id", 2**32, "concept_id is 4294967296, not a number from -1"),
        ("train_data", "concept_id", -1, "concept -1; numbers of concepts are from 0 up"),
        ("metadata", "concept", ["a"], "row 3 of the concepts' data: concept is a list"),
        ("metadata", "concept_id", [0], r"row 3 of the concepts' data: concept_id is \[0\]"),
    ],
)
def test_cells_of_another_kind(
    tmp_path: Path, table: str, column: str, value: Any, says: str
) -> None:
    row = 3 if table == "metadata" else 4
    folder = changed(tmp_path, table, "jsonl", column, value, row)
    if value == -1:
        (folder / "metadata.jsonl").unlink()
    with pytest.raises(DataError, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_lists_in_a_column_of_parquet(tmp_path: Path) -> None:
    write_data(tmp_path)
    rows = rows_of(tmp_path / "train_data.jsonl")
    (tmp_path / "train_data.jsonl").unlink()
    table = pa.Table.from_pylist([own | {"output": [own["output"]]} for own in rows])
    parquet.write_table(table, tmp_path / "train_data.parquet")
    with pytest.raises(DataError, match="row 1 of the training data: output is a list, not a text"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("value", "says"),
    [(None, "has no instruction"), (["a"], "instruction is a list, not a text")],
)
def test_instructions_are_texts(tmp_path: Path, value: Any, says: str) -> None:
    folder = changed(tmp_path, "alpaca_eval", "jsonl", "instruction", value)
    with pytest.raises(DataError, match=f"row 4 of the instructions.*{says}"):
        concepts.instructions("", load(folder).source)


def test_half_a_surrogate_pair_is_one_line_with_file_and_row(tmp_path: Path) -> None:
    folder = changed(tmp_path / "data", "train_data", "jsonl", "output", "\ud83d", row=6)
    arguments = ["train", "--methods", "bow", "--data", str(folder), "--out", str(tmp_path / "o")]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, HarnessError)
    assert "train_data.jsonl, line 6: half a surrogate pair" in str(found.exception)
    assert not (tmp_path / "o").exists()


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    plain = load(write_data(tmp_path / "plain"))
    marked = write_data(tmp_path / "marked")
    for path in marked.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(marked).sha256 == plain.sha256
