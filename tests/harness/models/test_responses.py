"""Answers stay strings and tuples, and keep their trace through everything lm-eval does."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance
from lm_eval.filters import build_filter_ensemble
from sqlitedict import SqliteDict

from harness import Completion, Score
from harness.models.responses import margin, pieces, trace_of


def test_they_are_what_lm_eval_expects() -> None:
    assert Completion("a b", {"factor": 2}) == "a b"
    assert json.dumps(Completion("a", {})) == '"a"'
    log_probability, is_greedy = Score(-0.5, True)
    assert (log_probability, is_greedy) == (-0.5, True)
    assert Score(-0.5) == (-0.5, False)


def test_the_trace_survives_lm_evals_cache(tmp_path: Path) -> None:
    with SqliteDict(str(tmp_path / "cache.db"), autocommit=True) as cache:
        cache["c"], cache["s"] = Completion("a", {"factor": 2}), Score(-1.0, True, {"chunk": 3})
    with SqliteDict(str(tmp_path / "cache.db")) as cache:
        completion, score = cache["c"], cache["s"]
    assert (completion, trace_of(completion)) == ("a", {"factor": 2})
    assert (score, trace_of(score)) == ((-1.0, True), {"chunk": 3})
    assert isinstance(completion, Completion) and isinstance(score, Score)


def test_the_trace_survives_copies_and_filters() -> None:
    original = Completion("a", {"factor": 2})
    assert trace_of(copy.deepcopy(original)) == {"factor": 2}
    assert copy.deepcopy(Score(-1.0, True, {"x": 1})).trace == {"x": 1}
    instance = Instance("generate_until", {}, ("prompt", {}), 0, ("task", 0, 1))
    instance.resps = [original]
    build_filter_ensemble("none", [("take_first", None)]).apply([instance])
    assert instance.filtered_resps["none"] is original


def test_a_stock_answer_has_an_empty_trace() -> None:
    assert trace_of("plain") == {} == trace_of((-1.0, False))


def test_margin_is_the_log_odds() -> None:
    assert margin(no=(-2.0, False), yes=(-0.5, True)) == 1.5


@pytest.mark.parametrize("words", [" a b", "a é b 𝄞 c" * 9])
def test_pieces_of_tokens_make_up_the_text(words: str) -> None:
    """Tokens here are bytes, and a decoder drops the space that a text begins with."""
    ids = list(words.encode())
    found = pieces(ids, lambda some: bytes(some).decode(errors="replace").removeprefix(" "))
    assert len(found) == len(ids) and "".join(found) == words.removeprefix(" ")
