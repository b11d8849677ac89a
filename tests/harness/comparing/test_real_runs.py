"""Runs that lm-eval itself has written, of stock task types."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml

from harness.comparing import compare

ROWS = """
def rows(**_):
    from datasets import Dataset

    numbers = range(1, 31)
    documents = [{"question": str(n), "answer": n % 2, "page": f"page {n} " * n} for n in numbers]
    return {"test": Dataset.from_list(documents)}
"""
CHOICE = {
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": ["a", "b"],
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    "metadata": {"version": 1.0},
}
PAGES = {
    "test_split": "test",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{page}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    "metadata": {"version": 1.0},
}
GROUP = {
    "group": "letters",
    "task": ["letters_a", "letters_b"],
    "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    room = tmp_path_factory.mktemp("real")
    (room / "compared_rows.py").write_text(ROWS, encoding="utf-8")
    tasks = {"letters_a": CHOICE, "letters_b": CHOICE, "pages": PAGES}
    for name, config in tasks.items():
        text = yaml.safe_dump({**config, "task": name, "custom_dataset": "ROWS"})
        text = text.replace("ROWS", "!function compared_rows.rows")
        (room / f"{name}.yaml").write_text(text, encoding="utf-8")
    (room / "group.yaml").write_text(yaml.safe_dump(GROUP), encoding="utf-8")
    found = {}
    with pytest.MonkeyPatch.context() as patch, mock.patch("lm_eval.evaluator.add_env_info"):
        patch.syspath_prepend(str(room))
        patch.setattr(sys, "argv", ["lm_eval"])
        for name, seed, limit in (("one", 1, None), ("two", 2, None), ("part", 3, 8)):
            tracker = EvaluationTracker(output_path=str(room / name))
            results = simple_evaluate(
                model="dummy",
                tasks=["letters", "pages"],
                limit=limit,
                random_seed=seed,
                bootstrap_iters=0,
                evaluation_tracker=tracker,
                task_manager=TaskManager(include_path=str(room), include_defaults=False),
            )
            samples = results.pop("samples")
            tracker.save_results_aggregated(results=results, samples=samples)
            for task, lines in samples.items():
                tracker.save_results_samples(task_name=task, samples=lines)
            found[name] = [room / name]
    return found


def test_every_metric_of_stock_tasks_is_made_again(runs: dict[str, list[Path]]) -> None:
    found = compare(runs, "one", all_metrics=True, subtasks=True)
    assert not found.uncompared
    kinds = [(one.task, one.metric, one.test) for one in found.differences if one.run == "two"]
    assert kinds == [
        ("letters", "acc", "bootstrap"),
        ("letters_a", "acc", "mcnemar"),
        ("letters_a", "acc_norm", "mcnemar"),
        ("letters_b", "acc", "mcnemar"),
        ("letters_b", "acc_norm", "mcnemar"),
        ("pages", "bits_per_byte", "bootstrap"),
        ("pages", "word_perplexity", "bootstrap"),
    ]
    assert all(one.low < one.difference < one.high for one in found.differences)


def test_a_limited_run_is_compared_on_what_it_has(runs: dict[str, list[Path]]) -> None:
    found = compare(runs, "one")
    parts = [one for one in found.differences if one.run == "part"]
    assert [(one.task, one.documents, one.left_out) for one in parts] == [
        ("letters", 16, 44), ("pages", 8, 22),
    ]  # fmt: skip
