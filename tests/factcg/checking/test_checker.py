"""The engine: windows, the response cache, order and counts."""

from __future__ import annotations

import json

import pytest
from harness_factcg.checking import checker as rooms
from harness_factcg.checking import planning
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair

from factcg.made_up import CITIES, NAMES, document
from harness.errors import HarnessError


def pairs():
    texts = [document(length, length) for length in (1, 14, 3, 9, 5)]
    claims = [f"{name} lives in {city}." for name, city in zip(NAMES, CITIES, strict=True)]
    return [Pair(text, claim) for claim in claims for text in texts]


def opened(path, **options):
    return open_checker(path, device="cpu", **{"chunk_size": 40, "batch_tokens": 700} | options)


@pytest.fixture
def small_windows(monkeypatch):
    def windows(some):
        return planning.windows(some, most=4)

    monkeypatch.setattr(rooms, "windows", windows)


@pytest.mark.parametrize("family", ["factcg", "minicheck-7b", "alignscore"])
def test_windows_change_no_verdict(checker_path, family, small_windows, monkeypatch):
    many = opened(checker_path, family=family)
    sizes = []
    stock = many._planner.plan
    monkeypatch.setattr(many._planner, "plan", lambda some: sizes.append(len(some)) or stock(some))
    found = many.verdicts(pairs())
    monkeypatch.undo()
    one = opened(checker_path, family=family)
    expected = one.verdicts(pairs())
    assert sizes == [4] * 7 + [2]
    assert found.keys() == expected.keys() == set(pairs())
    for pair, verdict in found.items():
        other = expected[pair]
        assert verdict.margin == pytest.approx(other.margin, abs=1e-5)
        assert (verdict.chunks, verdict.deciding_text) == (other.chunks, other.deciding_text)
    assert many.tally.prompts == one.tally.prompts


def test_verdicts_come_window_by_window(checker_path, small_windows, monkeypatch):
    checker = opened(checker_path)
    read = []
    stock = checker._forward
    monkeypatch.setattr(checker, "_forward", lambda ids: read.append(len(ids)) or stock(ids))
    stream = checker.stream(pairs())
    first, _ = next(stream)
    assert first == pairs()[0]
    assert sum(read) == 4  # of one document, in one chunk
    documents = [first.document, *(pair.document for pair, _ in stream)]
    assert documents == [pair.document for pair in pairs()[:5] for _ in NAMES]


def test_the_response_cache_holds_across_windows_and_aggregations(
    checker_path, small_windows, tmp_path, monkeypatch
):
    path = tmp_path / "scores.jsonl"
    expected = opened(checker_path, response_cache=path).verdicts(pairs())
    lines = path.read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines)
    again = opened(checker_path, response_cache=path, aggregation="min")
    monkeypatch.setattr(again, "_forward", lambda ids: pytest.fail("asked again"))
    found = again.verdicts(pairs())  # claims of one sentence: the same prompts
    assert [v.margin for v in found.values()] == [v.margin for v in expected.values()]
    assert again.tally.model == 0
    assert path.read_text().splitlines() == lines


def test_a_stored_score_is_its_heads(make_checker, tmp_path):
    path = make_checker()
    store = tmp_path / "scores.jsonl"
    one = opened(path, response_cache=store).verdicts(pairs()[:1])
    other = opened(path, response_cache=store, supported=0).verdicts(pairs()[:1])
    (a,), (b,) = one.values(), other.values()
    assert a.margin == pytest.approx(-b.margin)


def test_chunks_are_the_familys(checker_path):
    text = "Anna lives in Rome. Ben sings.\nClara owns a cat. " + document(30)
    assert opened(checker_path, family="minicheck-7b", chunk_size=None).chunks(text) == [text]
    words = opened(checker_path, family="alignscore").chunks(text)
    assert words[0].startswith("Anna lives in Rome. Ben sings. Clara owns a cat. ")
    lines = opened(checker_path).chunks(text)
    assert lines[0].startswith("Anna lives in Rome.\nBen sings.\nClara owns a cat.\n")
    checker = opened(checker_path, family="minicheck")
    tokens = checker.checkpoint.tokenizer(checker.chunks(text), add_special_tokens=False)
    assert all(len(ids) <= 40 for ids in tokens["input_ids"])


def test_texts_that_cannot_be_asked(checker_path):
    for pair in (Pair(" ", "a"), Pair("a", " ")):
        with pytest.raises(HarnessError, match="is empty"):
            opened(checker_path).verdicts([pair])
    assert opened(checker_path).verdicts([]) == {}


def test_truncation_is_counted(checker_path):
    checker = open_checker(checker_path, device="cpu", max_length=150, overlong="cut")
    checker.verdicts([Pair(document(n), "Anna lives in Rome.") for n in (1, 40)])
    assert (checker.tally.pairs, checker.tally.truncated) == (2, 1)
