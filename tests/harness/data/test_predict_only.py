"""``--predict_only``: every task keeps its answers, measures nothing, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.host import discovery
from harness.host.lm_eval_seams import BYPASS

ALIKE = "llm_aggrefact_"
"""Twenty-two tasks that differ in their rows alone."""


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Every kind of registered task, on the testbed."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("predicted")
    folders = [str(one) for plugin in discovery.plugins() for one in plugin.folders]
    manager = TaskManager(
        include_path=folders, include_defaults=False, metadata={"data": "testbed"}
    )
    alike = [name for name in manager.all_subtasks if name.startswith(ALIKE)]
    names = [name for name in manager.all_subtasks if name not in alike]
    names += [f"{ALIKE}wice", f"{ALIKE}tuned_wice"]
    assert len(alike) == 22 and len(names) >= 15
    tracker = EvaluationTracker(output_path=str(folder))
    with mock.patch("lm_eval.evaluator.add_env_info"):  # takes five seconds
        results = lm_eval.simple_evaluate(
            model="dummy",
            tasks=names,
            task_manager=manager,
            limit=1,
            predict_only=True,
            evaluation_tracker=tracker,
        )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return results, folder


def test_every_task_honours_lm_evals_override(predicted: tuple[dict[str, Any], Path]) -> None:
    results, _ = predicted
    for name, metrics in results["results"].items():
        measured = {key for key in metrics if "," in key} - {"n_unscored,none"}
        assert {key for key in measured if "_stderr" not in key} == {f"{BYPASS},none"}, name
        assert metrics["sample_len"] == 1
        assert results["configs"][name]["metric_list"] == [{"metric": BYPASS}]


def test_the_answers_are_saved(predicted: tuple[dict[str, Any], Path]) -> None:
    results, folder = predicted
    for name in results["results"]:
        (file,) = folder.rglob(f"samples_{name}_2*.jsonl")
        (line,) = file.read_text().splitlines()
        assert json.loads(line)["resps"] and BYPASS in json.loads(line)["metrics"]


def test_the_board_ranks_none_of_them(predicted: tuple[dict[str, Any], Path]) -> None:
    from harness.leaderboard import read_results

    results, folder = predicted
    table = read_results([folder])
    assert not table.skipped and {row.task.task for row in table.rows} == set(results["results"])
    assert all(row.predicted and row.value is None for row in table.rows)
