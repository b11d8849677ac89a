"""Real results files, written by lm-eval itself, and a page in a real browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from leaderboard_samples import OLDER, OLDEST, document, save, task

TASK = {
    "task": "tiny_letters",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": ["a", "b"],
    "doc_to_target": "{{answer}}",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {
        "version": 1.0,
        "data_source": "inline",
        "data_sha256": "ab" * 32,
        "split": "test",
        "headline": "acc_norm",
    },
}
GROUP = {
    "group": "tiny",
    "task": ["tiny_letters"],
    "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
    "metadata": {"version": 2.0},
}


ROWS = """
def rows(**_):
    from datasets import Dataset

    documents = [{"question": str(number), "answer": number % 2} for number in range(10)]
    return {"test": Dataset.from_list(documents)}
"""


@pytest.fixture(scope="session")
def real_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files written by lm-eval: its dummy model on one task in one group, full and limited."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import yaml
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    room = tmp_path_factory.mktemp("real")
    (room / "tasks").mkdir()
    (room / "leaderboard_rows.py").write_text(ROWS, encoding="utf-8")
    letters = yaml.safe_dump({**TASK, "custom_dataset": "ROWS"}).replace(
        "ROWS", "!function leaderboard_rows.rows"
    )
    (room / "tasks" / "letters.yaml").write_text(letters, encoding="utf-8")
    (room / "tasks" / "group.yaml").write_text(yaml.safe_dump(GROUP), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(room))
        patch.setattr(sys, "argv", ["lm_eval"])
        for limit in (None, 4):
            tracker = EvaluationTracker(output_path=str(room / "out"))
            results = simple_evaluate(
                model="dummy",
                tasks=["tiny"],
                limit=limit,
                evaluation_tracker=tracker,
                task_manager=TaskManager(include_path=str(room / "tasks"), include_defaults=False),
                log_samples=False,
            )
            tracker.save_results_aggregated(results)
    return room / "out"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with runs of several models and methods, limited ones and older formats."""
    folder = tmp_path / "many"
    for number in range(60):
        value = 0.2 + 0.01 * number
        steer = task(
            {"overall,none": value, "overall_stderr,none": 0.01, "fluency,none": 1.0},
            metadata={"data_source": "hub", "split": "test", "headline": "overall"},
        )
        refuse = task({"rate,none": 1 - value, "rate_stderr,none": 0.02}, up=False)
        method = {} if number % 3 else {"method": "diffmean", "method_args": {"factor": number}}
        content = document(
            {"steer": steer, "refuse": refuse},
            date=1_760_000_000.0 + number,
            model_args={"pretrained": f"org/model-{number:02}"},
            limit=10 if number >= 55 else None,
            **method,
        )
        save(folder, content, f"{number:02}")
    save(folder, OLDER, "older")
    save(folder, OLDEST, "oldest")
    return folder
