"""A task that judges in rounds: the ratings so far say what is judged next."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from faulty_server import running
from judged_tasks import PoliteTask, evaluate, judge_at

from harness.errors import JudgeError
from harness.judging.rescore import rescore


@pytest.fixture
def in_rounds(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """``PoliteTask`` judges the even rows, then those after a row that is rated above 0."""
    asked: list[list[int]] = []

    def rounds(self: Any, docs: Any) -> Iterator[Any]:
        first = [place for place, doc in enumerate(docs) if doc["number"] % 2 == 0]
        asked.append(first)
        found = yield first
        second = [p + 1 for p, one in zip(first, found, strict=True) if one.ratings["polite"]]
        asked.append(second)
        yield second

    monkeypatch.setattr(PoliteTask, "rounds", rounds)
    monkeypatch.setattr(PoliteTask, "scopes", frozenset({"all", "score"}))
    return asked


def _judged(results: Any) -> dict[int, bool]:
    found = {}
    for sample in results["samples"]["polite"]:
        shown = json.loads(str(sample["filtered_resps"][0]))
        found[sample["doc"]["number"]] = shown.get("judged", True)
        if not found[sample["doc"]["number"]]:
            assert set(shown["ratings"].values()) == {None}
            assert shown["text"] == "lol"
    return found


def test_ratings_decide_what_is_judged_next(tmp_path, in_rounds):
    with running() as server:
        results = evaluate(tmp_path, {"judge": judge_at(server.url)})
    # polite rates 0 … 5 as 0 1 2 0 1 2: of the even rows 2 and 4 are above 0
    assert in_rounds == [[0, 2, 4], [3, 5]]
    assert _judged(results) == {0: True, 1: False, 2: True, 3: True, 4: True, 5: True}
    assert server.total == 10
    polite = results["results"]["polite"]
    assert polite["polite,none"] == 1.0  # 0 2 0 1 2
    assert polite["n_unscored,none"] == 0
    note = results["configs"]["polite"]["metadata"]["judging"]
    assert note == {"scope": "all", "responses": 6, "judged": 5, "questions": 10}


def test_the_share_of_the_unscored_is_of_what_was_asked(tmp_path, in_rounds):
    def faults(prompt: str) -> list[str]:
        return ["unrated"] * 99 if "polite" in prompt and prompt.endswith((" 0", " 2")) else []

    with running(faults) as server:
        judge = judge_at(server.url, retries=0)
        # 0 and 2 are unscored, 4 is rated 1 and 5 is judged: 2 of 4
        results = evaluate(tmp_path, {"judge": judge, "judge_max_unscored": 0.5})
        assert results["results"]["polite"]["n_unscored,none"] == 2
        with pytest.raises(JudgeError, match="left 2 of 4 responses unscored"):
            evaluate(tmp_path, {"judge": judge, "judge_max_unscored": 0.4})


def test_a_run_that_stops_in_a_later_round_asks_only_what_is_missing(tmp_path, in_rounds):
    down = {"on": True}

    def faults(prompt: str) -> list[str]:
        late = prompt.endswith(("polite? Rate item 3", "polite? Rate item 5"))
        return ["401"] * 99 if down["on"] and late else []

    with running(faults) as server:
        judge = judge_at(server.url)
        with pytest.raises(JudgeError, match="The responses are saved: `harness score"):
            evaluate(tmp_path, {"judge": judge})
        down["on"] = False
        first = {f"Is 'lol' polite? Rate item {n}" for n in (0, 2, 4)}
        first |= {f"Is 'lol' short? Rate item {n}" for n in (1, 3, 5)}
        assert first < set(server.requests)
        before = server.requests.copy()
        again = evaluate(tmp_path, {"judge": judge})
        assert not first & set(server.requests - before)
    assert again["results"]["polite"]["polite,none"] == 1.0


def test_saved_samples_are_judged_by_the_same_rounds(tmp_path, in_rounds):
    evaluate(tmp_path, {"judge": "none"})
    with running() as server:
        judge = json.dumps(judge_at(server.url))
        path = rescore(tmp_path / "out", judge=judge, include_path=[tmp_path])
        assert server.total == 10
    saved = json.loads(path.read_text())
    assert saved["results"]["polite"]["polite,none"] == 1.0
    assert saved["configs"]["polite"]["metadata"]["judging"]["judged"] == 5


def test_a_scope_that_a_task_does_not_know_leaves_it_whole(tmp_path, caplog):
    with running() as server, caplog.at_level(logging.WARNING):
        metadata = {"judge": judge_at(server.url), "judge_scope": "score"}
        results = evaluate(tmp_path, metadata)
        assert server.total == 12
    assert "judge_scope=score is for other tasks" in caplog.text
    assert results["configs"]["polite"]["metadata"]["judging"]["scope"] == "all"


def test_a_misspelt_scope(tmp_path):
    with pytest.raises(JudgeError, match="judge_scope=some: choose one of all, score, race"):
        evaluate(tmp_path, {"judge": "none", "judge_scope": "some"})


def test_rounds_need_all_responses_in_one_process(tmp_path, in_rounds, monkeypatch):
    stock = PoliteTask.build_all_requests
    monkeypatch.setattr(
        PoliteTask, "build_all_requests", lambda s, **o: stock(s, **(o | {"world_size": 2}))
    )
    judge = judge_at("http://127.0.0.1:9/v1")
    with pytest.raises(JudgeError, match="harness score RESULTS --scope score"):
        evaluate(tmp_path, {"judge": judge, "judge_scope": "score"})
