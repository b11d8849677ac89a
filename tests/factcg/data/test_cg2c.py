"""CG2C files of both schemas: rows, pairs, lengths, and lines that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.data import cg2c
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError

OWN = {
    "doc": "Anna works for Borealis. Borealis is in Rome.",
    "claim": "Anna works for a company in Rome.",
    "label": 1,
    "hops": 2,
    "pair_id": "0-0",
    "source": "doc",
    "removed": ["Anna", "Anna works for Borealis.", "Borealis"],
}
THEIRS = {
    "task": "bin_grounding",
    "text_a": "Anna works for Borealis.",
    "text_b": ["Anna, who has a job, works."],
    "text_c": [],
    "orig_label": 1,
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_our_own_rows(tmp_path: Path) -> None:
    negative = OWN | {"label": 0, "doc": "Anna has heard of Borealis. Borealis is in Rome."}
    rows = cg2c.read(write(tmp_path / "cg2c.jsonl", OWN, negative))
    assert rows == [OWN, negative] and list(rows[0]) == list(cg2c.COLUMNS)
    assert cg2c.pairs(rows) == [(OWN, negative)] == cg2c.pairs(rows[::-1])


def test_released_rows_are_paired_by_claim_and_label(tmp_path: Path) -> None:
    def row(claim: str, label: int) -> dict[str, Any]:
        return THEIRS | {"text_b": [claim], "orig_label": label}

    # one claim twice over; a positive without a partner; a pair the other way round
    given = [row("A.", 1), row("A.", 0), row("A.", 1), row("A.", 0), row("B.", 1), row("C.", 0),
             row("C.", 1), row("C.", 1)]  # fmt: skip
    rows = cg2c.read(write(tmp_path / "d.jsonl", *given))
    assert [row["pair_id"] for row in rows] == [
        *("d-1", "d-1", "d-2", "d-2", "d-3", "d-4", "d-4", "d-5")
    ]
    assert rows[0] == {
        "doc": "Anna works for Borealis.",
        "claim": "A.",
        "label": 1,
        "hops": 0,
        "pair_id": "d-1",
        "source": "d",
        "removed": [],
    }
    assert len(cg2c.pairs(rows)) == 3


def test_the_length_gap_by_hand() -> None:
    def pair(name: str, positive: int, negative: int) -> list[dict[str, Any]]:
        sizes = ((1, positive), (0, negative))
        return [{"doc": "word " * n, "label": label, "pair_id": name} for label, n in sizes]

    rows = pair("a", 10, 1) + pair("b", 10, 8) + pair("c", 10, 10) + pair("d", 10, 15)
    gap = cg2c.length_gap([*rows, {"doc": "alone", "label": 1, "pair_id": "e"}])
    assert gap == cg2c.LengthGap(pairs=4, shorter=2, longer=1, median=-1.0)
    assert str(gap) == (
        "2 of 4 negatives are shorter than their positive (50.0%), 1 longer; median gap -1 words"
    )
    assert str(cg2c.length_gap([])) == "no pairs"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: not a JSON object"),
        ({"doc": "A."}, r"row 2: missing column\(s\) claim, label, hops"),
        (OWN | {"doc": "  "}, "row 2: doc is empty"),
        (OWN | {"claim": None}, "row 2: claim is empty or no text"),
        (OWN | {"label": 2}, "row 2: label 2 is neither"),
        (OWN | {"label": "1"}, "row 2: label '1' is neither"),
        (OWN | {"hops": -1}, "row 2: hops is no number"),
        (OWN | {"removed": ["Anna"]}, "row 2: removed has 1 parts"),
        (OWN | {"removed": "Anna"}, "row 2: removed is no list"),
        (THEIRS, r"row 2: missing column\(s\) doc, claim"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: object, says: str) -> None:
    path = tmp_path / "cg2c.jsonl"
    path.write_text(json.dumps(OWN) + "\n" + (line if isinstance(line, str) else json.dumps(line)))
    with pytest.raises(DataError, match=rf"cg2c.jsonl, {says}"):
        cg2c.read(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (THEIRS | {"text_b": []}, "text_b is no list of one claim"),
        (THEIRS | {"text_b": "A."}, "text_b is no list of one claim"),
        (THEIRS | {"text_a": ""}, "its document is withheld"),
        (THEIRS | {"orig_label": True}, "orig_label True is neither"),
        (THEIRS | {"text_a": " "}, "text_a is empty or no text"),
        (THEIRS | {"text_a": None}, "text_a is empty or no text"),
        ({"text_a": "A."}, r"missing column\(s\) text_b, orig_label"),
    ],
)
def test_a_broken_released_line_is_named(tmp_path: Path, line: object, says: str) -> None:
    with pytest.raises(DataError, match=rf"d.jsonl, row 1: {says}"):
        cg2c.read(write(tmp_path / "d.jsonl", line))


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        cg2c.read(write(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match="no such file"):
        cg2c.read(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        cg2c.read(tmp_path / "latin.jsonl")


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 1)), min_size=1, max_size=12))
def test_a_pair_is_one_claim_with_both_labels(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.jsonl"
    rows = cg2c.read(
        write(path, *(THEIRS | {"text_b": [claim], "orig_label": label} for claim, label in given))
    )
    assert [(row["claim"], row["label"]) for row in rows] == given
    for name in {row["pair_id"] for row in rows}:
        own = [row for row in rows if row["pair_id"] == name]
        assert len({row["claim"] for row in own}) == 1
        assert len(own) == len({row["label"] for row in own}) <= 2
