"""Inspect's logs, read again by Inspect."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import exported_runs as runs
import pytest

from harness.errors import HarnessError
from harness.export.folder import write_folder


def test_inspect_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("inspect_ai"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return stock(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(HarnessError, match=r"pip install 'paperharness\[inspect\]'"):
        write_folder([runs.save(tmp_path / "run")], "inspect", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The logs of a run, by task."""
    log = pytest.importorskip("inspect_ai.log")
    room = tmp_path_factory.mktemp("logs")
    write_folder([runs.save(room / "run")], "inspect", room / "out")
    found = [log.read_eval_log(one) for one in log.list_eval_logs(str(room / "out"))]
    return {one.eval.task: one for one in found}


def test_a_log_for_each_task(logs: dict[str, Any]) -> None:
    assert set(logs) == set(runs.TASKS)
    for log in logs.values():
        assert log.status == "success"
        assert log.eval.model == "hf-steered/org/model"
        assert log.eval.model_args == {"pretrained": "org/model"}
        assert log.eval.tags == ["diffmean"]
        assert log.eval.packages["lm_eval"] == "0.4.13"
        assert len(log.samples) == log.results.total_samples == 2


def test_a_choice(logs: dict[str, Any]) -> None:
    right, wrong = logs["even"].samples
    assert (right.input, right.choices, right.target) == ("Is 0 even?", [" No", " Yes"], " Yes")
    assert (right.output.completion, wrong.output.completion) == (" Yes", " No")
    assert (right.scores["acc"].value, wrong.scores["acc"].value) == (1.0, 0.0)
    (score,) = logs["even"].results.scores
    assert {name: one.value for name, one in score.metrics.items()} == {"acc": 0.5, "stderr": 0.25}


def test_a_judged_answer(logs: dict[str, Any]) -> None:
    log = logs["concepts"]
    rated, unrated = log.samples
    assert [(one.role, one.text) for one in rated.messages] == [
        ("system", "Be kind."),
        ("user", "Tell me 0."),
        ("assistant", "The sea is wide."),
    ]
    (score,) = rated.scores.values()
    assert score.value == {"factor": 0.5, "concept": 2.0}
    assert (score.answer, score.explanation) == ("The sea is wide.", "concept: Rating: 2")
    assert rated.metadata["trace"] == {"method": "diffmean", "factor": 0.5}
    assert unrated.scores["score"].value == {"factor": 0.5, "concept": None}
    (whole,) = log.results.scores
    assert {name: one.value for name, one in whole.metrics.items()} == {"score": 2.0, "worst": 1.0}
    assert whole.metrics["score"].metadata["ci95_low"] == 1.0
    assert whole.unscored_samples == 1
    assert log.eval.model_generate_config.temperature == 0.5


def test_each_filter_is_a_scorer(logs: dict[str, Any]) -> None:
    scores = logs["sums"].samples[0].scores
    assert {name: (one.value, one.answer) for name, one in scores.items()} == {
        "exact_match,strict": (0.0, "[invalid]"),
        "exact_match,flexible": (1.0, "4"),
    }


def test_no_key_is_in_a_log(logs: dict[str, Any]) -> None:
    assert all(runs.KEY not in log.model_dump_json() for log in logs.values())
