from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_factcg import data
from harness_factcg.data import DATASETS, llm_aggrefact, task_name

from harness.errors import DataError

from .made_up import rows, write_jsonl


def write_csv(path, content):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)


WRITERS = {
    "jsonl": write_jsonl,
    "json": lambda path, content: path.write_text(json.dumps(content)),
    "csv": write_csv,
    "parquet": lambda path, content: pq.write_table(pa.Table.from_pylist(content), path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"test.{suffix}", rows())
    found = llm_aggrefact(dataset="Wice", aggrefact_data=str(tmp_path))
    assert found.rows == [row for row in rows() if row["dataset"] == "Wice"]
    assert found.split == "test"
    assert found.source.kind == "folder"
    assert [type(row["label"]) for row in found.rows] == [int] * 6


def test_the_plugins_own_key_wins_and_a_subfolder_is_found(tmp_path):
    write_jsonl(tmp_path / "aggrefact" / "test.jsonl", rows())
    assert len(llm_aggrefact(dataset="Lfqa", data=str(tmp_path)).rows) == 6
    write_jsonl(tmp_path / "own" / "test.jsonl", rows(2))
    own = str(tmp_path / "own")
    assert len(llm_aggrefact(dataset="Lfqa", data=str(tmp_path), aggrefact_data=own).rows) == 2


def test_a_file_names_its_split(tmp_path):
    path = write_jsonl(tmp_path / "dev.jsonl", rows())
    assert llm_aggrefact(dataset="Reveal", aggrefact_data=str(path)).split == "dev"


def test_only_dev_there(tmp_path):
    write_jsonl(tmp_path / "aggrefact" / "dev.jsonl", rows())
    with pytest.raises(DataError, match=r"no split 'test'.*aggrefact_split=dev"):
        llm_aggrefact(dataset="Wice", data=str(tmp_path))
    found = llm_aggrefact(dataset="Wice", data=str(tmp_path), aggrefact_split="dev")
    assert found.split == "dev"


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"no test\.parquet, \.jsonl"):
        llm_aggrefact(dataset="Wice", data=str(tmp_path))
    with pytest.raises(DataError, match="no such file or folder"):
        llm_aggrefact(dataset="Wice", data=str(tmp_path / "missing"))
    with pytest.raises(DataError, match="aggrefact_split=train: use one of test, dev"):
        llm_aggrefact(dataset="Wice", data=str(tmp_path), aggrefact_split="train")


def test_a_missing_data_set_says_what_is_there_and_what_to_run(tmp_path):
    path = write_jsonl(tmp_path / "test.jsonl", rows(4, ["Wice", "Lfqa"]))
    with pytest.raises(DataError) as raised:
        llm_aggrefact(dataset="RAGTruth", aggrefact_data=str(path))
    text = str(raised.value)
    assert "no rows of RAGTruth, only of Wice (4), Lfqa (4)" in text
    assert "run --tasks llm_aggrefact_wice,llm_aggrefact_lfqa" in text
    path = write_jsonl(tmp_path / "own.jsonl", rows(4, ["Mine"]))
    with pytest.raises(DataError, match=r"only of Mine \(4\): rename to one of AggreFact-CNN"):
        llm_aggrefact(dataset="Wice", aggrefact_data=str(path))
    path = write_jsonl(tmp_path / "empty.jsonl", [])
    with pytest.raises(DataError, match="has no rows"):
        llm_aggrefact(dataset="Wice", aggrefact_data=str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "2"}, r"row 3: label '2' is neither 0"),
        ({"label": None}, r"row 3: label None is neither 0"),
        ({"label": 1.0}, r"row 3: label 1\.0 is neither 0"),
        ({"label": "supported"}, r"row 3: label 'supported'"),
        ({"doc": " \n"}, r"row 3: doc is empty or no text"),
        ({"claim": ""}, r"row 3: claim is empty or no text"),
        ({"claim": 7}, r"row 3: claim is empty or no text"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, message):
    content = rows()
    content[2] |= change
    path = write_jsonl(tmp_path / "test.jsonl", content)
    with pytest.raises(DataError, match=message) as raised:
        llm_aggrefact(dataset="Wice", aggrefact_data=str(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("column", ["dataset", "doc", "claim", "label"])
def test_a_missing_column_is_named(tmp_path, column):
    content = rows()
    del content[4][column]
    path = write_jsonl(tmp_path / "test.jsonl", content)
    with pytest.raises(DataError, match=rf"row 5: missing column\(s\) {column}"):
        llm_aggrefact(dataset="Wice", aggrefact_data=str(path))


def test_labels_as_text_or_truth_value_and_other_spellings(tmp_path):
    content = [row | {"dataset": "WiCE"} for row in rows(4, ["Wice"])]
    for row, label in zip(content, ["0", True, False, " 1"], strict=True):
        row["label"] = label
        del row["contamination_identifier"]
    path = write_jsonl(tmp_path / "test.jsonl", content)
    found = llm_aggrefact(dataset="Wice", aggrefact_data=str(path)).rows
    assert [row["label"] for row in found] == [0, 1, 0, 1]
    assert {row["contamination_identifier"] for row in found} == {""}


def test_a_table_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    reads = []
    stock = data.read_table
    monkeypatch.setattr(data, "read_table", lambda *args: reads.append(1) or stock(*args))
    path = write_jsonl(tmp_path / "test.jsonl", rows())
    for name in DATASETS:
        llm_aggrefact(dataset=name, aggrefact_data=str(path))
    assert len(reads) == 1
    import os

    write_jsonl(path, rows(2))
    os.utime(path, ns=(1, 1))
    assert len(llm_aggrefact(dataset="Wice", aggrefact_data=str(path)).rows) == 2


def test_hub_without_network_names_the_three_ways():
    with pytest.raises(DataError, match=r"cannot read hub:lytang/LLM-AggreFact .* three places"):
        llm_aggrefact(dataset="Wice")


def test_hub_rows(monkeypatch):
    import datasets

    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return datasets.Dataset.from_list(rows())

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data._hub.cache_clear()
    found = [llm_aggrefact(dataset=n, aggrefact_split="dev", pretrained="x") for n in DATASETS]
    data._hub.cache_clear()
    assert asked == [("lytang/LLM-AggreFact", "dev")]
    assert sum(len(sourced.rows) for sourced in found) == 66
    assert str(found[0].source) == "hub:lytang/LLM-AggreFact"


@pytest.mark.parametrize("split", ["test", "dev"])
def test_testbed_has_all_eleven(split):
    for name in DATASETS:
        found = llm_aggrefact(dataset=name, data="testbed", aggrefact_split=split)
        assert {row["label"] for row in found.rows} == {0, 1}
        assert str(found.source) == "testbed"


def test_task_names():
    assert task_name("FactCheck-GPT") == "llm_aggrefact_factcheck_gpt"
    assert len({task_name(name) for name in DATASETS}) == 11
