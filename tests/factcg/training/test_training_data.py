from __future__ import annotations

import json
import random

import pytest
from harness_factcg.training import rows as training_data
from harness_factcg.training.rows import Source
from hypothesis import given
from hypothesis import strategies as st

from factcg.made_up import rows as aggrefact_rows
from factcg.made_up import write_jsonl
from harness.artefacts import trainings
from harness.errors import DataError


def read(path):
    return training_data.read([Source.of(path)])


def pair(number, doc, other, claim="A claim."):
    shared = {"claim": claim, "hops": 2, "pair_id": str(number), "source": "doc", "removed": []}
    return [{"doc": doc, "label": 1} | shared, {"doc": other, "label": 0} | shared]


def test_three_schemas_give_the_same_rows(tmp_path):
    own = write_jsonl(tmp_path / "own.jsonl", pair(7, "Long text.", "Text."))
    released = write_jsonl(
        tmp_path / "released.jsonl",
        [
            {"task": "", "text_a": doc, "text_b": ["A claim."], "text_c": [], "orig_label": label}
            for doc, label in (("Long text.", 1), ("Text.", 0))
        ],
    )
    table = tmp_path / "table.csv"
    table.write_text("doc,claim,label\nLong text.,A claim.,1\nText.,A claim.,0\n")
    bare = [
        {name: row[name] for name in ("doc", "claim", "label")}
        for path in (own, released, table)
        for row in read(path)
    ]
    assert bare[:2] == bare[2:4] == bare[4:]
    assert [row["label"] for row in bare[:2]] == [1, 0]
    assert read(own)[0]["pair_id"] == read(own)[1]["pair_id"] == "0:7"
    assert read(released)[0]["pair_id"] == read(released)[1]["pair_id"] != ""
    assert [row["pair_id"] for row in read(table)] == ["", ""]


def test_pairs_of_two_files_are_told_apart(tmp_path):
    one = write_jsonl(tmp_path / "one.jsonl", pair(0, "A.", "B."))
    two = write_jsonl(tmp_path / "two.jsonl", pair(0, "C.", "D."))
    found = training_data.read([Source.of(one), Source.of(two)])
    assert training_data.groups(found) == [[0, 1], [2, 3]]


def test_evaluation_data_are_refused(tmp_path):
    whole = aggrefact_rows(2)
    nameless = [{k: v for k, v in row.items() if k != "contamination_identifier"} for row in whole]
    for number, content in enumerate((whole, nameless)):
        path = write_jsonl(tmp_path / f"{number}.jsonl", content)
        with pytest.raises(DataError, match=r"row 1: this is LLM-AggreFact.*forbid training"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "has no rows"),
        ([{"doc": " ", "claim": "C.", "label": 1}], "row 1: doc is empty"),
        ([{"doc": "D.", "claim": "", "label": 1}], "row 1: claim is empty"),
        ([{"doc": "D.", "claim": "C.", "label": 2}], "neither 0"),
        ([{"doc": "D.", "claim": "C."}], "missing column"),
    ],
)
def test_bad_rows_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write_jsonl(tmp_path / "rows.jsonl", content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Source.of(tmp_path / "none.jsonl")


def test_one_label_alone_is_refused():
    with pytest.raises(DataError, match=r"these: all 2 rows have the label 1"):
        training_data.check_labels([{"label": 1}, {"label": 1}], "these")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=40, max_size=80))
def test_no_pair_and_no_document_is_divided(links):
    """Pairs over shared documents: each row's partners, at any remove, are on its side."""
    rows = [
        row
        for number, (one, other) in enumerate(links)
        for row in pair(number, f"Document {one}.", f"Other {other}.", f"Claim {number}.")
    ]
    try:
        train, dev = training_data.split(rows, 0.1, seed=3)
    except DataError:
        assert max(map(len, training_data.groups(rows))) > 8
        return
    assert sorted(map(json.dumps, train + dev)) == sorted(map(json.dumps, rows))
    assert len(dev) >= 0.1 * len(rows)
    for name in ("doc", "pair_id"):
        assert not {row[name] for row in train} & {row[name] for row in dev}


def test_the_split_is_told_by_its_seed():
    rows = [row for k in range(40) for row in pair(k, f"D{k}.", f"E{k}.", f"C{k}.")]
    assert training_data.split(rows, 0.05, 1) == training_data.split(rows, 0.05, 1)
    train, dev = training_data.split(rows, 0.05, 1)
    assert (len(train), len(dev)) == (76, 4)
    assert dev != training_data.split(rows, 0.05, 2)[1]


def test_rows_that_all_hang_together_cannot_be_split():
    rows = [row for k in range(40) for row in pair(k, f"D{k}.", f"D{k + 1}.")]
    with pytest.raises(DataError, match=r"80 of 80 rows hang together.*give --dev FILE"):
        training_data.split(rows, 0.05, 1)


def test_batches_are_of_like_length_and_every_row_is_read_once():
    lengths = [random.Random(k).randint(10, 400) for k in range(485)]
    found = trainings.order(lengths, 16, "seed")
    assert sorted(found) == list(range(485))
    batches = [found[k : k + 16] for k in range(0, 485, 16)]
    assert max(lengths) == max(lengths[place] for place in batches[0])
    padded = sum(16 * max(lengths[p] for p in batch) for batch in batches[:-1])
    assert padded < 1.15 * sum(lengths[p] for batch in batches[:-1] for p in batch)
    assert found == trainings.order(lengths, 16, "seed")
    assert found != trainings.order(lengths, 16, "other")
