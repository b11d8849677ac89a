"""What cells cost, read off their results; what is not known is not 0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_results import Study, difference

from harness import DataError
from harness.studies.report import Cost, cost_of, costs_of
from harness.studies.report.matrix import matrix_of
from harness.studies.report.summary import Spent, accounts, answers

ACC = {"acc,none": 0.5, "acc_stderr,none": 0.05}
JUDGE = {"judge": {"model": "local-chat-completions"}}


def judged(results: Path, task: str, votes: list[dict[str, list[Any]]]) -> Path:
    """Samples with a judgement each."""
    lines = [
        {"doc_id": number, "filtered_resps": [json.dumps({"text": "a", "answers": answers})]}
        for number, answers in enumerate(votes)
    ]
    file = results.with_name(f"samples_{task}_2026-01-01T00-00-00.0.jsonl")
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


def test_a_generating_run_that_counts_nothing(tmp_path: Path) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, output_type="generate_until")
    assert cost_of(path) == Cost(seconds=12.5, tokens=None, judge_calls=0, answers=100)


def test_a_scoring_run_writes_no_tokens(tmp_path: Path) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, output_type="multiple_choice", seconds=None)
    assert cost_of(path) == Cost(seconds=None, tokens=0, judge_calls=0, answers=100)


def test_a_model_that_counts_its_tokens(tmp_path: Path) -> None:
    config = {"speculation": {"answers": 3, "tokens": 61}}
    path = Study(tmp_path).done("fast", "t", ACC, output_type="generate_until", config=config)
    assert cost_of(path).tokens == 61


def test_judge_calls_are_votes_one_that_gave_no_answer_too(tmp_path: Path) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, metadata=JUDGE)
    judged(path, "t", [{"concept": ["2", "1"], "fluency": ["0", None]}, {"concept": ["1"]}, {}])
    assert cost_of(path).judge_calls == 5


@pytest.mark.parametrize("model", ["none", "proxy"])
def test_no_model_no_calls(tmp_path: Path, model: str) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, metadata={"judge": {"model": model}})
    assert cost_of(path).judge_calls == 0


def test_several_judges(tmp_path: Path) -> None:
    judges = {"judge": [{"model": "one"}, {"model": "two"}]}
    path = Study(tmp_path).done("plain", "t", ACC, metadata=judges)
    judged(path, "t", [{"one": ["safe"], "two": ["unsafe"]}])
    assert cost_of(path).judge_calls == 2


def test_judge_calls_are_unknown_without_judgements(tmp_path: Path) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, metadata=JUDGE)
    assert cost_of(path).judge_calls is None
    file = judged(path, "t", [{"concept": ["2"]}])
    assert cost_of(path).judge_calls == 1
    file.write_text('{"doc_id": 0, "filtered_resps": ["an answer"]}\n', encoding="utf-8")
    assert cost_of(path).judge_calls is None


def test_damaged_samples_are_told_by_line(tmp_path: Path) -> None:
    path = Study(tmp_path).done("plain", "t", ACC, metadata=JUDGE)
    file = judged(path, "t", [{"concept": ["2"]}])
    file.write_text(file.read_text(encoding="utf-8") + '{"cut', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not valid JSON"):
        cost_of(path)


def test_sums_by_run(tmp_path: Path) -> None:
    """fast: 10 s and an unknown; plain took 20 s on the first. 10/20 = 0.5 × on what both say."""
    study = Study(tmp_path)
    scores = {"output_type": "multiple_choice"}
    study.done("plain", "one", ACC, seconds="20", **scores)
    study.done("plain", "two", ACC, seconds="5", **scores)
    study.done("fast", "one", ACC, seconds="10", **scores)
    study.done("fast", "two", ACC, seconds=None, output_type="generate_until")
    view = study.view(differences=[difference("fast", "one", 0.2), difference("fast", "two", 0.01)])
    view = study.view(differences=view.differences, costs=costs_of(view.cells, view.table))
    plain, fast = accounts(view, matrix_of(view))
    assert (plain.seconds, plain.times) == (Spent(25.0, True), 1.0)
    assert (fast.seconds, fast.times) == (Spent(10.0, False), 0.5)
    assert fast.tokens == Spent(0, False)
    assert (fast.better, fast.worse, fast.compared) == (1, 0, 2)


def test_answers_name_the_best_and_who_is_not_told_apart(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for run, value in {"plain": 0.3, "near": 0.84, "first": 0.9}.items():
        study.done(run, "general", {"acc,none": 0.5, "acc_stderr,none": 0.05})
        study.done(run, "gain", {"acc,none": value, "acc_stderr,none": 0.05})
    costs = {"first/gain": Cost(seconds=3.0), "plain/gain": Cost(seconds=2.0)}
    view = study.view(gain="gain", costs=costs, differences=[difference("first", "gain", 0.6)])
    found = answers(view, matrix_of(view))
    assert [(one.column.of, one.run, one.tied) for one in found] == [
        ("gain", "first", ["near"]),
        ("general", "plain", ["near", "first"]),
    ]
    gain = found[0]
    assert gain.entry.difference is not None and gain.entry.difference.difference == 0.6
    assert (gain.cost.seconds, gain.base_cost) == (3.0, Cost(seconds=2.0))
