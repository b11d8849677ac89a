"""A small judged task, as a plugin would bring it, and a run of it under lm-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.asking.assistant import Question
from harness.data.sources import Row, Source, Sourced
from harness.judging.judged_task import JudgedTask, Judgement

YAML = """
task: polite
class: !function judged_tasks.PoliteTask
custom_dataset: !function judged_tasks.rows
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: ""
generation_kwargs: {until: ["END"], do_sample: false}
metric_list:
  - metric: polite
    aggregation: !function harness.judging.judged_task.scored_mean
    higher_is_better: true
  - metric: polite_worst
    aggregation: !function harness.judging.judged_task.worst_mean
    higher_is_better: true
  - metric: polite_best
    aggregation: !function harness.judging.judged_task.best_mean
    higher_is_better: true
metadata: {version: 1.0}
"""
GROUP = """
group: manners
task: [polite]
aggregate_metric_list:
  - {metric: polite, aggregation: mean, weight_by_size: true}
metadata: {version: 1.0}
"""


def rows(*, n: int = 6, data: str = "folder", **_: Any) -> Sourced:
    texts = [{"number": number, "text": f"Say hello to {number}."} for number in range(n)]
    kind = "testbed" if data == "testbed" else "folder"
    return Sourced("test", texts, Source(kind, "somewhere", "data"))


class PoliteTask(JudgedTask):
    def questions(self, doc: Row, response: str) -> Mapping[str, Question]:
        return {
            "polite": Question(prompt=f"Is '{response}' polite? Rate item {doc['number']}"),
            "short": Question(prompt=f"Is '{response}' short? Rate item {doc['number'] + 1}"),
        }

    def wording(self) -> Mapping[str, Question]:
        return self.questions({"number": 0}, "(response)")

    def process_results(self, doc: Row, results: Sequence[Judgement]) -> dict[str, Any]:
        (judgement,) = results
        polite = judgement.ratings["polite"]
        means = dict.fromkeys(("polite", "polite_worst", "polite_best"), polite)
        return means | {"n_unscored": judgement.unscored}


def write_tasks(folder: Path) -> Path:
    (folder / "polite.yaml").write_text(YAML)
    (folder / "manners.yaml").write_text(GROUP)
    return folder


def evaluate(
    folder: Path, metadata: dict[str, Any], *, task: str = "polite", **options: Any
) -> Any:
    """Run lm-eval's own loop with its model that says "lol"; save what the command would."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    write_tasks(folder)
    manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=metadata)
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    with mock.patch("lm_eval.evaluator.add_env_info"):  # takes five seconds
        results = lm_eval.simple_evaluate(
            model="dummy",
            tasks=[task],
            task_manager=manager,
            evaluation_tracker=tracker,
            bootstrap_iters=100,
            **options,
        )
    samples = results["samples"]
    saved = {key: value for key, value in results.items() if key != "samples"}
    tracker.save_results_aggregated(results=saved, samples=samples)
    for name, rows_of_task in samples.items():
        tracker.save_results_samples(task_name=name, samples=[dict(row) for row in rows_of_task])
    return results


def judge_at(url: str, **more: Any) -> dict[str, Any]:
    """The run's ``judge`` key, for a chat server."""
    args = {"base_url": url, "model": "judge-1", "num_concurrent": 4, "max_retries": 1}
    return {
        "model": "local-chat-completions",
        "model_args": args | {"timeout": 1} | more.pop("model_args", {}),
        "backoff": 0.01,
        "retries": 1,
    } | more
