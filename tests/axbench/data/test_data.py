"""Concept data: layouts, checks, instructions."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from harness_axbench.data import concepts
from harness_axbench.options import run_options

from axbench.conftest import write_data
from harness.errors import DataError


def load(folder: Path) -> concepts.ConceptData:
    return concepts.load(run_options({"axbench_data": str(folder)}))


def test_folder_layouts_hold_the_same_data(data_folder: Path, tmp_path: Path) -> None:
    flat = load(data_folder)
    assert [concept.text for concept in flat.concepts] == [
        "the sea",
        "baking bread",
        "programming constructs",
    ]
    nested = tmp_path / "all" / "axbench"
    (nested / "generate").mkdir(parents=True)
    (nested / "inference").mkdir()
    for name, place in (
        ("train_data", "generate"),
        ("metadata", "generate"),
        ("latent_eval_data", "inference"),
    ):
        content = (data_folder / f"{name}.jsonl").read_text()
        (nested / place / f"{name}.jsonl").write_text(content)
    assert load(nested.parent).sha256 == flat.sha256
    as_hub = tmp_path / "hub"
    for name, place in (("train_data", "train"), ("latent_eval_data", "test")):
        (as_hub / place).mkdir(parents=True)
        frame = pd.read_json(data_folder / f"{name}.jsonl", lines=True)
        frame.to_parquet(as_hub / place / "data.parquet")
    assert load(as_hub).concepts == flat.concepts, "without metadata the positives name concepts"


def test_the_plugins_switch_goes_first(data_folder: Path) -> None:
    found = concepts.load(run_options({"data": "testbed", "axbench_data": str(data_folder)}))
    assert found.source.kind == "folder"
    assert concepts.load(run_options({"data": "testbed"})).source.kind == "testbed"


def test_subfolders_are_listed(tmp_path: Path) -> None:
    write_data(tmp_path / "prod_b")
    write_data(tmp_path / "prod_a")
    with pytest.raises(DataError, match=r"pass one: prod_a, prod_b$"):
        load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train_data and latent_eval_data.*three places"):
        load(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "missing")
    (tmp_path / "file.parquet").write_text("")
    with pytest.raises(DataError, match="pass their folder"):
        load(tmp_path / "file.parquet")


def rewrite(folder: Path, name: str, keep: object) -> None:
    path = folder / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in (keep(row) for row in rows) if row is not None]  # type: ignore[operator]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_missing_columns_and_rows(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "columns")
    rewrite(folder, "train_data", lambda r: {k: v for k, v in r.items() if k != "output"})
    with pytest.raises(DataError, match=r"missing column.*output"):
        load(folder)
    folder = write_data(tmp_path / "negatives")
    unneeded = lambda r: None if (r["concept_id"], r["concept_genre"]) == (-1, "code") else r  # noqa: E731
    rewrite(folder, "train_data", unneeded)
    with pytest.raises(DataError, match=r"concept 2 .*no negatives in its genre 'code'"):
        load(folder)
    folder = write_data(tmp_path / "positives")
    rewrite(folder, "train_data", lambda r: None if r["concept_id"] == 1 else r)
    with pytest.raises(DataError, match="concept 1 has no positives"):
        load(folder)


def test_no_network_names_the_three_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot read hub:pyvene/axbench-concept10.*three places"):
        concepts.load(run_options({}))


def test_instructions_are_pandas_draw(data_folder: Path) -> None:
    found = load(data_folder)
    pool = concepts.instructions("", found.source)
    frame = pd.DataFrame({"instruction": pool, "other": range(len(pool))})
    for concept in found.concepts:
        expected = frame.sample(10, random_state=concept.id)["instruction"].tolist()
        assert concepts.drawn_instructions(pool, concept) == expected


def test_missing_or_few_instructions(tmp_path: Path, data_folder: Path) -> None:
    few = write_data(tmp_path / "few", instructions=4)
    with pytest.raises(DataError, match="4 instructions, too few"):
        concepts.instructions("", load(few).source)
    (few / "alpaca_eval.jsonl").unlink()
    with pytest.raises(DataError, match=r"no alpaca_eval.json.*axbench_instructions=hub"):
        concepts.instructions("", load(few).source)
    named = str(data_folder / "alpaca_eval.jsonl")
    assert len(concepts.instructions(named, load(few).source)) == 30


def test_keys_that_are_not_known(data_folder: Path) -> None:
    metadata = {"axbench_data": str(data_folder)}
    with pytest.raises(DataError, match=r"axbench_concept=…: .* did you mean axbench_concepts\?"):
        run_options(metadata | {"axbench_concept": [0]})
    with pytest.raises(DataError, match="no such key; there are axbench_data, axbench_subset"):
        run_options(metadata | {"axbench_qqqqqqqqqqqqqqqqqqqqqqqqq": 1})
    assert concepts.load(run_options(metadata | {"aggrefact_data": "testbed"})).concepts


def test_cells_that_are_empty(tmp_path: Path) -> None:
    path = write_data(tmp_path) / "train_data.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = json.dumps(json.loads(lines[6]) | {"output": None})
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="row 7 of the training data has no output"):
        load(tmp_path)
