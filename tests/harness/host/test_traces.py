"""Saved samples keep the traces of answers, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Score
from harness.host.traces import unkept

TRACE = {"layer": 3, "marks": [["a", "accepted"]]}


def sample(*answers: Any, **more: Any) -> dict[str, Any]:
    return {
        "resps": [[one] for one in answers],
        "filtered_resps": [str(one) for one in answers],
        **more,
    }


def test_a_trace_is_kept_once() -> None:
    scores = Score(-1.0, trace=TRACE), Score(-2.0, trace=dict(TRACE))
    assert unkept(sample(*scores)) == [TRACE]
    assert unkept(sample("plain", Completion("a"))) == []


def test_what_a_metric_or_a_judgement_keeps_is_not_written_twice() -> None:
    answer = Completion("a", {"fidelity": {"reference": TRACE}})
    assert unkept(sample(answer, kl=dict(TRACE))) == []
    assert unkept(sample(answer, kl={"marks": [["b", "accepted"]]})) == [answer.trace]

    class Judged:
        trace = TRACE

    assert unkept(sample(answer) | {"filtered_resps": [Judged()]}) == []


def test_lm_eval_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.loggers import EvaluationTracker

    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.model_name_sanitized = "model"
    tracker.date_id = "2026"
    given = sample(Completion("a", TRACE), arguments=[("prompt", {})], target="b")
    tracker.save_results_samples("task", [given])
    (line,) = (tmp_path / "model" / "samples_task_2026.jsonl").read_text().splitlines()
    assert json.loads(line)["traces"] == [TRACE]
    assert json.loads(line)["resps"] == [["a"]]
