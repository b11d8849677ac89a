"""Concept files and seed instructions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import pytest
from harness_axbench.generation import seeds
from harness_axbench.generation.seeds import ConceptSeed

from harness.errors import DataError


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_concept_a_line(tmp_path: Path) -> None:
    file = tmp_path / "concepts.txt"
    file.write_text("the sea \n\nbaking bread\n", encoding="utf-8")
    found = seeds.read_concepts(file)
    assert found == [ConceptSeed(0, "the sea"), ConceptSeed(1, "baking bread")]


def test_tables_may_say_more(tmp_path: Path) -> None:
    rows = [
        {"concept": "loops", "concept_id": 7, "ref": "x/7"}
        | {"concept_genres_map": {"loops": ["code"]}},
        {"concept_id": 2, "concept": "the sea", "genre": "text"},
    ]  # fmt: skip
    expected = [ConceptSeed(2, "the sea", "", "text"), ConceptSeed(7, "loops", "x/7", "code")]
    assert seeds.read_concepts(write(tmp_path / "c.jsonl", rows)) == expected
    csv = tmp_path / "c.csv"
    csv.write_text("concept_id,concept,ref,genre\n7,loops,x/7,code\n2,the sea,,text\n")
    assert seeds.read_concepts(csv) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no concept in it"),
        ([{"name": "x"}], r"missing column\(s\) concept"),
        ([{"concept": " "}], "row 1: the concept is empty"),
        ([{"concept": "a", "concept_id": 1}, {"concept": "b"}], "1 of 2 concepts have a concept_"),
        ([{"concept": "a", "concept_id": "one"}], "concept_id is 'one'"),
        ([{"concept": "a", "concept_id": -1}], "concept_id is -1"),
        ([{"concept": "a"}, {"concept": "a"}], "row 2: 'a' is there already, in row 1"),
        ([{"concept": ["a"]}], "row 1: concept is a list, not a text"),
        ([{"concept": "a"}, {"concept": 7}], "row 2: concept is a int, not a text"),
        ([{"concept": "a", "ref": {}}], "row 1: ref is a dict, not a text"),
        ([{"concept": "a", "genre": ["text"]}], "row 1: genre is a list, not a text"),
        ([{"concept": "a", "concept_id": 2**32}], "concept_id is 4294967296, not a number from 0"),
        ([{"concept": "a", "concept_id": "9" * 5000}], "concept_id is '999"),
        ([{"concept": "a", "genre": "poetry"}], "the genre is 'poetry', not one of text, code"),
        (
            [{"concept": "a", "concept_id": 1}, {"concept": "b", "concept_id": 1}],
            "row 2: concept_id 1 of 'b' is already that of 'a'",
        ),
    ],
)  # fmt: skip
def test_a_bad_concept_file(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        seeds.read_concepts(write(tmp_path / "concepts.jsonl", rows))


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "concepts.txt"
    file.write_bytes("\ufeffthe sea\nbread\n".encode())
    assert seeds.read_concepts(file) == [ConceptSeed(0, "the sea"), ConceptSeed(1, "bread")]


def test_concepts_of_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "concepts.txt"
    file.write_bytes(b"the sea\n\xed\xa0\x80\n")
    with pytest.raises(DataError, match=r"concepts.txt cannot be read: no UTF-8 at byte 8$"):
        seeds.read_concepts(file)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match=r"pipe\.txt cannot be read: not a regular file"):
        seeds.read_concepts(tmp_path / "pipe.txt")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": ["a"]}, "row 2: instruction is a list, not a text"),
        ({"instruction": 5}, "row 2: instruction is a int, not a text"),
        ({"instruction": "a", "genre": ["text"]}, r"row 2: genre \['text'\] is not one of"),
        ({"instruction": "\ud800"}, "line 2: half a surrogate pair"),
    ],
)
def test_bad_instructions(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "i.jsonl", [{"instruction": "Describe it."}, row])
    with pytest.raises(DataError, match=message):
        seeds.read_instructions(str(file))


@pytest.mark.parametrize("name", ["none.txt", "none.jsonl"])
def test_no_concept_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}.*[Nn]o such file"):
        seeds.read_concepts(tmp_path / name)


def test_instructions_are_split_once_and_drawn_without_repetition(tmp_path: Path) -> None:
    rows = [{"instruction": f"Describe item {k % 30}."} for k in range(40)]
    rows += [{"instruction": f"Compute {k}.", "genre": "math"} for k in range(9)]
    rows += [
        {"instruction": "x" * 500},
        {"instruction": " "},
        {"instruction": "f()", "genre": "code"},
    ]
    found = seeds.read_instructions(str(write(tmp_path / "i.jsonl", rows)), ("text", "math"))
    sizes = {
        genre: (len(found.train[genre]), len(found.evaluation[genre])) for genre in found.train
    }
    assert sizes == {"text": (20, 10), "math": (6, 3)}
    assert found.left_out == 2
    assert not set(found.train["text"]) & set(found.evaluation["text"])
    again = seeds.read_instructions(str(write(tmp_path / "j.jsonl", rows[::-1])), ("text", "math"))
    assert again.sha256 == found.sha256, "the file's order does not matter"
    drawn = seeds.draw(found.train["text"], 15, 42, "positive", 3)
    assert len(set(drawn)) == 15 and set(drawn) <= set(found.train["text"])
    assert drawn == seeds.draw(found.train["text"], 15, 42, "positive", 3)
    assert drawn != seeds.draw(found.train["text"], 15, 42, "positive", 4)


def test_too_few_instructions(tmp_path: Path) -> None:
    file = write(tmp_path / "i.jsonl", [{"instruction": f"Describe {k}."} for k in range(9)])
    found = seeds.read_instructions(str(file), ("text", "code"))
    found.check("text", train=6, evaluation=3)
    with pytest.raises(DataError, match="6 instructions of the genre 'text' for training, too few"):
        found.check("text", train=7, evaluation=3)
    with pytest.raises(DataError, match=r"0 instructions of the genre 'code'.*with --genres"):
        found.check("code", train=1, evaluation=0)


def test_the_testbeds_instructions_keep_its_split() -> None:
    found = seeds.read_instructions("testbed")
    for genre in seeds.GENRES:
        found.check(genre, train=72, evaluation=72)
        assert not set(found.train[genre]) & set(found.evaluation[genre])


def test_the_hubs_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "databricks/databricks-dolly-15k": [
            {"instruction": "Name a colour.", "context": ""},
            {"instruction": "Who wrote this?", "context": "A letter."},
        ],
        "iamtarun/python_code_instructions_18k_alpaca": [{"instruction": "Sort it.", "input": ""}],
        "openai/gsm8k": [{"question": "How many?", "answer": "2"}],
    }
    asked = []

    def load(name: str, configuration: str | None, *, split: str) -> list[dict[str, str]]:
        asked.append((name, configuration, split))
        return tables[name]

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = seeds.read_instructions("hub")
    assert {genre: list(pool) for genre, pool in found.train.items()} == {
        "text": ["Name a colour."],
        "code": ["Sort it."],
        "math": ["How many?"],
    }
    assert asked[-1] == ("openai/gsm8k", "main", "train")


def test_an_unreachable_hub_names_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, configuration: str | None, *, split: str) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(
        DataError, match=r"databricks/.*HF_HUB_OFFLINE is set.*from the testbed, or from a FILE"
    ):
        seeds.read_instructions("hub")
