"""The whole way on the embedded data: the checker checks facts, a random scorer does not."""

from __future__ import annotations

import pytest
from harness_factcg.data.aggrefact import DATASETS, task_name
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from harness.host.task_files import task_folder

pytestmark = pytest.mark.long


def group_results(model: str, model_args: str) -> dict[str, dict[str, float]]:
    manager = TaskManager(
        include_path=str(task_folder("factcg")),
        include_defaults=False,
        metadata={"data": "testbed"},
    )
    found = simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=["llm_aggrefact"],
        task_manager=manager,
        device="cpu",
    )
    assert found is not None
    results: dict[str, dict[str, float]] = found["results"]
    return results


def test_the_checker_checks_facts() -> None:
    results = group_results("hf-fact-checker", "pretrained=testbed:checker")
    values = [results[task_name(name)]["balanced_accuracy,none"] for name in DATASETS]
    group = results["llm_aggrefact"]
    assert min(values) >= 0.9
    assert group["balanced_accuracy,none"] == pytest.approx(sum(values) / 11)
    assert 0 < group["balanced_accuracy_stderr,none"] < 0.02


def test_a_random_scorer_is_at_chance() -> None:
    group = group_results("dummy", "")["llm_aggrefact"]
    error = group["balanced_accuracy_stderr,none"]
    assert abs(group["balanced_accuracy,none"] - 0.5) < 3 * error
