"""What pairs are made from: documents and questions of every form, and rows that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.generation import sources
from harness_factcg.generation.sources import read

from harness.errors import DataError
from harness.testbed.english import chains
from harness.testbed.english.questions import answered, questions

MUSIQUE = {
    "id": "3hop1__9_8_7",
    "paragraphs": [
        {"idx": 0, "title": "T", "paragraph_text": "It rains.\nA lot.", "is_supporting": False},
        {"idx": 1, "title": "A", "paragraph_text": "Anna runs Borealis.", "is_supporting": True},
        {"idx": 2, "title": "E", "paragraph_text": "  ", "is_supporting": False},
        {"idx": 3, "title": "B", "paragraph_text": "Borealis is in Rome.", "is_supporting": True},
    ],
    "question": "Where is the firm that Anna runs?",
    "question_decomposition": [],
    "answer": "Rome",
    "answerable": True,
}
HOTPOT = {
    "_id": "5a8",
    "question": "Where is Anna's firm?",
    "answer": "Rome",
    "supporting_facts": [["A", 0], ["B", 1]],
    "context": [["A", ["Anna runs Borealis.", " She sings."]], ["C", ["It rains."]],
                ["B", ["B is a firm.", "Borealis is in Rome."]]],
}  # fmt: skip


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_documents_of_a_table_and_of_a_text_file(tmp_path: Path) -> None:
    rows = [{"doc": " Anna runs. "}, {"doc": "Ben sings.", "id": 7}, {"doc": "Anna runs."}]
    found = read(write(tmp_path / "d.jsonl", *rows), "doc", None, 0)
    assert [(item.id, item.passage.text) for item in found] == [
        ("d-1", "Anna runs."),
        ("7", "Ben sings."),
    ]
    (tmp_path / "e.txt").write_text("Anna runs.\n\n Ben sings.\n")
    found = read(str(tmp_path / "e.txt"), "doc", None, 0)
    assert [(item.id, item.passage.text) for item in found] == [
        ("e-1", "Anna runs."),
        ("e-2", "Ben sings."),
    ]


def test_a_draw_of_documents_follows_the_seed(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", *({"doc": f"Text {k}."} for k in range(40)))
    ids = [item.id for item in read(file, "doc", 6, 1)]
    assert len(set(ids)) == 6 and ids == [item.id for item in read(file, "doc", 6, 1)]
    assert ids == sorted(ids, key=lambda name: int(name[2:])), "in the file's order"
    assert ids != [item.id for item in read(file, "doc", 6, 2)]
    assert len(read(file, "doc", 99, 1)) == 40


def test_musique(tmp_path: Path) -> None:
    two = MUSIQUE | {"id": "2hop__1_2", "question": "Who?"}
    unanswerable = MUSIQUE | {"id": "4hop", "answerable": False, "question": "Why?"}
    (item,) = read(write(tmp_path / "m.jsonl", two, MUSIQUE, unanswerable), "mhqa", None, 0)
    assert (item.id, item.answer) == ("3hop1__9_8_7", "Rome")
    assert item.passage.paragraphs == ("It rains. A lot.", "Anna runs Borealis.",
                                       "Borealis is in Rome.")  # fmt: skip
    assert item.passage.evidence == (False, True, True)


def test_hotpotqa_in_both_forms(tmp_path: Path) -> None:
    by_name = HOTPOT | {
        "supporting_facts": {"title": ["A", "B"], "sent_id": [0, 1]},
        "context": {"title": ["A", "C", "B"], "sentences": [own[1] for own in HOTPOT["context"]]},
        "id": "5a9",
        "question": "And where is it?",
    }
    one, other = read(write(tmp_path / "h.jsonl", HOTPOT, by_name), "mhqa", None, 0)
    assert one.passage == other.passage and (one.id, other.id) == ("5a8", "5a9")
    assert one.passage.paragraphs[0] == "Anna runs Borealis. She sings."
    assert one.passage.evidence == (True, False, True)


@pytest.mark.parametrize(
    ("kind", "row", "says"),
    [
        ("doc", {"text": "Anna."}, "row 1: doc is missing"),
        ("doc", {"doc": " "}, "row 1: doc is missing, empty"),
        ("mhqa", {"question": "Who?", "answer": "Anna"}, "row 1: paragraphs is no list"),
        ("mhqa", MUSIQUE | {"paragraphs": ["Anna."]}, "row 1: a paragraph is no object"),
        ("mhqa", MUSIQUE | {"paragraphs": [{"text": "A."}]}, "row 1: a paragraph needs a text and"),
        ("mhqa", MUSIQUE | {"paragraphs": MUSIQUE["paragraphs"][:1]}, "no paragraph is marked"),
        ("mhqa", MUSIQUE | {"answer": ""}, "row 1: answer is missing, empty"),
        ("mhqa", HOTPOT | {"supporting_facts": [1]}, "is not as HotpotQA has it"),
        ("mhqa", HOTPOT | {"context": {"title": ["A"], "sentences": []}}, "not as HotpotQA"),
        ("mhqa", MUSIQUE | {"id": "2hop__1"}, "nothing that can be used for --kind mhqa"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, kind: Any, row: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(write(tmp_path / "rows.jsonl", row), kind, None, 0)


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; pass hub, testbed"):
        read(str(tmp_path / "none.jsonl"), "doc", None, 0)
    rows = [{"doc": "A.", "id": 1}, {"doc": "B.", "id": 1}]
    with pytest.raises(DataError, match="row 2: the id '1' is there before"):
        read(write(tmp_path / "twice.jsonl", *rows), "doc", None, 0)


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[str, str]] = []

    def load(name: str, split: str) -> datasets.Dataset:
        asked.append((name, split))
        if split == "train":
            return datasets.Dataset.from_list([MUSIQUE])
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset", load)
    (item,) = read("hub", "mhqa", None, 0)
    assert item.id == MUSIQUE["id"]
    with pytest.raises(
        DataError, match=r"cannot read .* from the hub: HF_HUB_OFFLINE is set.* Or pass --source"
    ):
        read("hub", "doc", None, 0)
    assert asked == [sources.HUB["mhqa"], sources.HUB["doc"]]


def test_the_testbeds_documents_and_questions() -> None:
    assert len(read("testbed", "doc", None, 0)) == sources.TESTBED_SIZE
    few = read("testbed", "doc", 5, 3)
    assert [item.passage.text for item in few] == list(chains.documents(5, 3))
    asked = read("testbed", "mhqa", 30, 3)
    for item, row in zip(asked, questions(30, 3), strict=True):
        claim = answered(item.question, item.answer)
        assert item.question == row["question"] and item.answer not in item.question
        assert chains.supports(item.passage.text, claim)
        assert chains.supports(item.passage.shown, claim), "the evidence suffices"
        needed = chains.claimed(claim)
        for text, own in zip(item.passage.paragraphs, item.passage.evidence, strict=True):
            assert bool(set(chains.stated(text)) & set(needed)) == own
