"""Claims from tables, and verdicts on them and on their sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.assessing.assessment import Claim, assess, read_rows
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair

from factcg.made_up import document, write_jsonl
from harness.errors import DataError, HarnessError

TEXT = document(9)
CLAIMS = [
    Claim(TEXT, "Anna lives in Rome.", 1, "A", "1"),
    Claim(TEXT, "Ben lives in Rome. Clara lives in Berlin.", 0, "B", "2"),
    Claim("It rains.", "It rains.", None, "", "3"),
]


def test_whole_claims(checker_path: str) -> None:
    """The claim's own margin decides; its sentences are judged besides, each alone."""
    checker = open_checker(checker_path, device="cpu", chunk_size=60)
    found = assess(checker, CLAIMS)
    assert [one.claim for one in found] == CLAIMS
    texts = [claim.text for claim in CLAIMS] + ["Ben lives in Rome.", "Clara lives in Berlin."]
    places = [TEXT, TEXT, "It rains.", TEXT, TEXT]
    plain = [
        checker.verdicts([Pair(place, text)])[Pair(place, text)].margin
        for place, text in zip(places, texts, strict=True)
    ]
    assert [one.verdict.margin for one in found] == pytest.approx(plain[:3], abs=1e-4)
    assert [one.supported for one in found] == [margin > 0 for margin in plain[:3]]
    assert [len(one.sentences) for one in found] == [0, 2, 0]
    assert [part.margin for part in found[1].sentences] == pytest.approx(plain[3:], abs=1e-4)
    assert [part.supported for part in found[1].sentences] == [margin > 0 for margin in plain[3:]]
    for one in found:
        (part,) = one.deciding
        assert (part.text, part.margin) == (one.claim.text, one.verdict.margin)
        assert part.explanation is not None
        chunk = one.claim.document[part.explanation.start : part.explanation.end]
        assert chunk.split() == one.verdict.deciding_text.split()
        assert all(sentence.explanation is None for sentence in one.sentences)


def test_claims_by_sentences(checker_path: str) -> None:
    """Where the family splits claims, each sentence decides, and each is explained."""
    checker = open_checker(checker_path, device="cpu", chunk_size=60, aggregation="min")
    found = assess(checker, CLAIMS)
    assert [len(one.deciding) for one in found] == [1, 2, 1]
    assert [len(one.sentences) for one in found] == [0, 2, 0]
    assert found[1].sentences == found[1].deciding
    margins = [part.margin for part in found[1].deciding]
    assert found[1].verdict.margin == min(margins)
    for part in found[1].deciding:
        alone = checker.verdicts([Pair(TEXT, part.text)])[Pair(TEXT, part.text)]
        assert part.margin == pytest.approx(alone.margin, abs=1e-4)
        assert part.explanation is not None and len(part.explanation.passages) >= 3


def test_a_threshold(checker_path: str) -> None:
    checker = open_checker(checker_path, device="cpu")
    (one,) = assess(checker, CLAIMS[:1])
    score = one.verdict.score
    for threshold, supported in ((score - 1e-4, True), (score + 1e-4, False), (1.0, False)):
        (one,) = assess(checker, CLAIMS[:1], threshold=threshold)
        assert one.supported is one.deciding[0].supported is supported


def test_without_explanations_nothing_more_is_asked(checker_path: str) -> None:
    checker = open_checker(checker_path, device="cpu", chunk_size=60)
    found = assess(checker, CLAIMS, explained=False)
    asked = checker.tally.prompts
    assert asked == len(checker.chunks(TEXT)) * 4 + 1
    assert [part.explanation.passages for one in found for part in one.deciding] == [()] * 3  # type: ignore[union-attr]
    full = assess(checker, CLAIMS)
    assert checker.tally.prompts > 2 * asked
    places = [
        [(part.explanation.start, part.explanation.end) for one in some for part in one.deciding]  # type: ignore[union-attr]
        for some in (found, full)
    ]
    assert places[0] == places[1]


def test_a_claim_that_leaves_no_room(checker_path: str) -> None:
    checker = open_checker(checker_path, device="cpu")
    claims = [*CLAIMS, Claim(TEXT, "Anna " * 600, None, "", "x7")]
    with pytest.raises(HarnessError, match=r"^claim x7: claim and question take \d+ of the 512"):
        assess(checker, claims)


def test_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"doc": TEXT, "claim": "a", "label": 1, "dataset": "Wice", "id": "w1"},
        {"doc": TEXT, "claim": "b", "label": None},
        {"doc": "d", "claim": "c", "id": 7, "dataset": ""},
        {"doc": "d", "claim": "e", "label": False},
    ]
    found = read_rows(write_jsonl(tmp_path / "r.jsonl", rows))
    assert found == [
        Claim(TEXT, "a", 1, "Wice", "w1"),
        Claim(TEXT, "b", None, "", "2"),
        Claim("d", "c", None, "", "7"),
        Claim("d", "e", 0, "", "4"),
    ]
    assert found[0].document is found[1].document
    (tmp_path / "r.csv").write_text("doc,claim,label\nd,c,1\nd,e,\n", encoding="utf-8")
    assert read_rows(tmp_path / "r.csv") == [
        Claim("d", "c", 1, "", "1"),
        Claim("d", "e", None, "", "2"),
    ]


def test_parquet_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"doc": ["d", "d"], "claim": ["c", "e"], "label": [1, None]})
    parquet.write_table(table, tmp_path / "r.parquet")
    assert [claim.label for claim in read_rows(tmp_path / "r.parquet")] == [1, None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"doc": " ", "claim": "c"}, "row 2: doc is empty or no text"),
        ({"doc": "d", "claim": ""}, "row 2: claim is empty or no text"),
        ({"doc": "d", "claim": 3}, "row 2: claim is empty or no text"),
        ({"doc": "d", "claim": "c", "label": "yes"}, "row 2: label 'yes' is neither 0 .* nor 1"),
        ({"doc": "d", "claim": "c", "label": 2}, "row 2: label 2 is neither 0"),
        ({"doc": "d"}, r"row 2: missing column\(s\) claim"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [{"doc": "d", "claim": "c"}, row])
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"r\.jsonl has no rows"):
        read_rows(tmp_path / "r.jsonl")
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "s.jsonl")
    (tmp_path / "r.txt").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(DataError, match="unknown format"):
        read_rows(tmp_path / "r.txt")
