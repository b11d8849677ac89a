from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_factcg.data import aggrefact
from harness_factcg.data.aggrefact import (
    DATASETS,
    fact_check,
    llm_aggrefact,
    llm_aggrefact_tuned,
    task_name,
)
from huggingface_hub.errors import GatedRepoError

from factcg.made_up import rows, write_jsonl
from harness.errors import DataError


def write_csv(path, content):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)


SPLITS = ("dev", "test")
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
    path = write_jsonl(tmp_path / "own.jsonl", [*rows(4, ["Wice"]), *rows(4, ["Wicee"])])
    unknown = r"own.jsonl, row 5: unknown data set 'Wicee'; LLM-AggreFact has .*run --tasks fact_"
    with pytest.raises(DataError, match=unknown):
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
    stock = aggrefact.read_table
    monkeypatch.setattr(aggrefact, "read_table", lambda *args: reads.append(1) or stock(*args))
    path = write_jsonl(tmp_path / "test.jsonl", rows())
    for name in DATASETS:
        llm_aggrefact(dataset=name, aggrefact_data=str(path))
    assert len(reads) == 1
    import os

    write_jsonl(path, rows(2))
    os.utime(path, ns=(1, 1))
    assert len(llm_aggrefact(dataset="Wice", aggrefact_data=str(path)).rows) == 2


def test_hub_without_network_names_the_three_ways():
    with pytest.raises(DataError, match=r"cannot read hub:lytang/LLM-AggreFact: .* three places"):
        llm_aggrefact(dataset="Wice")


def test_hub_rows(monkeypatch):
    import datasets

    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return datasets.Dataset.from_list(rows())

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    aggrefact._hub.cache_clear()
    found = [llm_aggrefact(dataset=n, aggrefact_split="dev", pretrained="x") for n in DATASETS]
    aggrefact._hub.cache_clear()
    assert asked == [("lytang/LLM-AggreFact", "dev")]
    assert sum(len(sourced.rows) for sourced in found) == 66
    assert str(found[0].source) == "hub:lytang/LLM-AggreFact"


def test_rows_that_the_hub_may_add_are_left_out_with_a_warning(monkeypatch, caplog):
    import datasets

    table = datasets.Dataset.from_list([*rows(2), *rows(2, ["Twelfth"])])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: table)
    aggrefact._hub.cache_clear()
    assert len(llm_aggrefact(dataset="Wice").rows) == 2
    aggrefact._hub.cache_clear()
    assert "2 rows of other data sets" in caplog.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_set_without_a_token(monkeypatch, status):
    import datasets
    import httpx

    def load_dataset(name, split):
        url = f"https://huggingface.co/api/datasets/{name}"
        response = httpx.Response(status, request=httpx.Request("GET", url))
        try:
            raise GatedRepoError(f"Cannot access gated repo for url {url}.", response=response)
        except GatedRepoError as cause:
            said = f"Dataset '{name}' is a gated dataset on the Hub."
            raise datasets.exceptions.DatasetNotFoundError(said) from cause

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    aggrefact._hub.cache_clear()
    for read in (llm_aggrefact, llm_aggrefact_tuned):
        with pytest.raises(DataError) as raised:
            read(dataset="Wice")
        text = str(raised.value)
        assert "\n" not in text
        assert "hub:lytang/LLM-AggreFact: it is gated" in text
        assert "accept its terms at https://huggingface.co/datasets/lytang/LLM-AggreFact" in text
        assert "hf auth login" in text and "data=testbed" in text


@pytest.mark.parametrize("read", [llm_aggrefact, llm_aggrefact_tuned])
def test_a_truncated_file_is_named_with_its_line(tmp_path, read):
    write_jsonl(tmp_path / "dev.jsonl", rows())
    path = write_jsonl(tmp_path / "test.jsonl", rows())
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=r"test\.jsonl, line 66: not valid JSON"):
        read(dataset="Wice", aggrefact_data=str(tmp_path))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_claims_of_one_label_are_refused(tmp_path, split):
    for name in ("dev", "test"):
        content = rows() if name == "test" else other(rows())
        if name == split:
            content = [row | {"label": 1} if row["dataset"] == "Lfqa" else row for row in content]
        write_jsonl(tmp_path / f"{name}.jsonl", content)
    message = rf"{split}\.jsonl, Lfqa: all 6 claims have label 1; balanced accuracy and AUROC need"
    with pytest.raises(DataError, match=message):
        llm_aggrefact_tuned(dataset="Lfqa", aggrefact_data=str(tmp_path))
    with pytest.raises(DataError, match=message):
        llm_aggrefact(dataset="Lfqa", aggrefact_data=str(tmp_path), aggrefact_split=split)
    assert llm_aggrefact_tuned(dataset="Wice", aggrefact_data=str(tmp_path)).rows


def splits(folder, dev, test):
    write_jsonl(folder / "dev.jsonl", dev)
    write_jsonl(folder / "test.jsonl", test)
    return str(folder)


def other(content):
    """The same rows with other documents."""
    return [row | {"doc": row["doc"] + " It rains."} for row in content]


def test_tuned_rows_are_marked_and_alternate(tmp_path):
    folder = splits(tmp_path, other(rows(4)), rows(12))
    found = llm_aggrefact_tuned(dataset="Wice", aggrefact_data=folder)
    marks = "".join(row["split"][0] for row in found.rows)
    assert marks == "tdttdtttdttdtt" or marks == "tdtttdtttdtttdtt"
    for split, content in (("dev", other(rows(4))), ("test", rows(12))):
        kept = [row for row in found.rows if row["split"] == split]
        assert kept == [row | {"split": split} for row in content if row["dataset"] == "Wice"]
    assert found.split == "test"
    assert found.notes == {"n_dev": 4, "n_test": 12, "dev_rows_left_out": 0}


def test_a_dev_row_that_is_a_test_row_too_is_left_out(tmp_path, caplog):
    folder = splits(tmp_path, [*rows(2), *other(rows(6))], rows(6))
    found = llm_aggrefact_tuned(dataset="Wice", aggrefact_data=folder)
    assert found.notes == {"n_dev": 6, "n_test": 6, "dev_rows_left_out": 2}
    dev, test = ({(r["doc"], r["claim"]) for r in found.rows if r["split"] == s} for s in SPLITS)
    assert not dev & test and len(test) == 6
    llm_aggrefact_tuned(dataset="Wice", aggrefact_data=folder)
    (told,) = caplog.records  # once, however many data sets of it are read
    said = "dev rows that are test rows too are left out; dev_rows_left_out says how many"
    assert told.getMessage() == f"folder:{folder}: {said}"


def test_dev_and_test_must_differ(tmp_path):
    folder = splits(tmp_path, rows(), rows())
    with pytest.raises(DataError, match="all 6 dev rows of Wice are test rows too"):
        llm_aggrefact_tuned(dataset="Wice", aggrefact_data=folder)


def test_tuning_needs_both_splits(tmp_path):
    path = write_jsonl(tmp_path / "test.jsonl", rows())
    with pytest.raises(DataError, match=r"has no split 'dev'"):
        llm_aggrefact_tuned(dataset="Wice", aggrefact_data=str(tmp_path))
    with pytest.raises(DataError, match=r"is one split; llm_aggrefact_tuned needs dev and test"):
        llm_aggrefact_tuned(dataset="Wice", aggrefact_data=str(path))
    with pytest.raises(DataError, match="aggrefact_split has no meaning here"):
        llm_aggrefact_tuned(dataset="Wice", data="testbed", aggrefact_split="dev")


def test_the_testbeds_splits_are_apart():
    for name in DATASETS:
        notes = llm_aggrefact_tuned(dataset=name, data="testbed").notes
        assert notes == {"n_dev": 32, "n_test": 48, "dev_rows_left_out": 0}


@pytest.mark.parametrize("split", ["test", "dev"])
def test_testbed_has_all_eleven(split):
    for name in DATASETS:
        found = llm_aggrefact(dataset=name, data="testbed", aggrefact_split=split)
        assert {row["label"] for row in found.rows} == {0, 1}
        assert str(found.source) == "testbed"


def test_task_names():
    assert task_name("FactCheck-GPT") == "llm_aggrefact_factcheck_gpt"
    assert len({task_name(name) for name in DATASETS}) == 11


def plain(count=6, **extra):
    kept = ("doc", "claim", "label")
    return [{name: row[name] for name in kept} | extra for row in rows(count, ["Wice"])]


@pytest.mark.parametrize("suffix", WRITERS)
def test_own_rows_in_every_format(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"mine.{suffix}", plain())
    found = fact_check(fact_check_data=str(tmp_path / f"mine.{suffix}"))
    assert found.split == "mine"
    assert [row["id"] for row in found.rows] == list("123456")
    assert [{k: row[k] for k in ("doc", "claim", "label")} for row in found.rows] == plain()
    assert {row["dataset"] for row in found.rows} == {""}


def test_own_data_sets_and_ids(tmp_path):
    content = [*plain(4, dataset="A", id="x"), *plain(2, dataset="B", id=0, note="more")]
    write_jsonl(tmp_path / "fact_check.jsonl", content)
    found = fact_check(data=str(tmp_path)).rows
    assert [(row["dataset"], row["id"]) for row in found[3:]] == [
        ("A", "x"),
        ("B", "0"),
        ("B", "0"),
    ]
    assert set(found[-1]) == {"doc", "claim", "label", "dataset", "id"}


def test_own_rows_of_the_testbed():
    found = fact_check(data="testbed")
    assert len(found.rows) == 11 * 48
    assert {row["dataset"] for row in found.rows} == set(DATASETS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc": ""}, "row 2: doc is empty or no text"),
        ({"claim": " "}, "row 2: claim is empty or no text"),
        ({"label": "yes"}, "row 2: label 'yes' is neither 0 .not supported. nor 1"),
        ({"label": None}, "row 2: label None is neither"),
    ],
)
def test_a_bad_own_row_is_named(tmp_path, change, message):
    content = plain()
    content[1] |= change
    path = write_jsonl(tmp_path / "mine.jsonl", content)
    with pytest.raises(DataError, match=message) as raised:
        fact_check(fact_check_data=str(path))
    assert str(path) in str(raised.value)


def test_a_csv_cell_that_is_not_there(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("doc,claim,label\nA text.,A claim.,1\nA text.,A claim.\n")
    with pytest.raises(DataError, match="row 2: label None is neither"):
        fact_check(fact_check_data=str(path))


def test_own_rows_that_cannot_be_measured(tmp_path):
    path = write_jsonl(tmp_path / "mine.jsonl", [row | {"label": 0} for row in plain()])
    with pytest.raises(DataError, match=r"mine\.jsonl: all 6 claims have label 0"):
        fact_check(fact_check_data=str(path))
    write_jsonl(path, [*plain(dataset="A"), *plain(1, dataset="B")])
    with pytest.raises(DataError, match=r"data set 'B': all 1 claims have label 0"):
        fact_check(fact_check_data=str(path))
    write_jsonl(path, [{"doc": "A.", "label": 1}])
    with pytest.raises(DataError, match=r"row 1: missing column\(s\) claim; needed are doc"):
        fact_check(fact_check_data=str(path))
    write_jsonl(path, [])
    with pytest.raises(DataError, match="has no rows"):
        fact_check(fact_check_data=str(path))
    path.write_text(json.dumps(plain()[0]) + '\n{"doc": "Cut o')
    with pytest.raises(DataError, match=r"mine\.jsonl, line 2: not valid JSON"):
        fact_check(fact_check_data=str(path))
    path = tmp_path / "mine.txt"
    path.write_text("A text.")
    with pytest.raises(DataError, match="unknown format; use one of parquet, jsonl, json, csv"):
        fact_check(fact_check_data=str(path))


def test_own_rows_must_be_named(tmp_path):
    for metadata in ({}, {"data": "hub"}, {"fact_check_data": ""}):
        with pytest.raises(DataError, match=r"^fact_check reads rows of your own: give --metadata"):
            fact_check(**metadata)
    with pytest.raises(DataError, match=r"fact_check_data=.*: no such file or folder\. fact_check"):
        fact_check(fact_check_data=str(tmp_path / "missing.jsonl"))
    with pytest.raises(DataError, match=r"no fact_check\.parquet"):
        fact_check(fact_check_data=str(tmp_path))
