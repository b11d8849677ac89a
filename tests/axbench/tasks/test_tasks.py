"""The tasks through lm-eval's own evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lm_eval
import pytest
from harness_axbench import plugin
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from sklearn.metrics import f1_score, roc_auc_score

from axbench.conftest import YAMLS
from harness import compose
from harness.errors import HarnessError
from harness.host import task_files

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")

Manager = Callable[..., TaskManager]


def evaluate(lm: Any, manager: TaskManager, task: str, **options: Any) -> dict[str, Any]:
    found = lm_eval.simple_evaluate(
        model=lm, tasks=[task], task_manager=manager, bootstrap_iters=10, **options
    )
    assert found is not None
    return found


def steered(llama: str, steering: Path, method: str = "diffmean", **options: Any) -> SteeredHF:
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 16}
    return SteeredHF(llama, steering=str(steering), method=method, **settings | options)


TASKS = {
    "axbench_steer",
    "axbench_steer_prompt",
    "axbench_suppress",
    "axbench_detect",
    "axbench_detect_prompt",
}
GROUPS = {
    "axbench": ["axbench_detect", "axbench_steer", "axbench_suppress"],
    "axbench_prompting": ["axbench_detect_prompt", "axbench_steer_prompt"],
}


def test_every_yaml_loads(manager: Manager, data_folder: Path) -> None:
    names = {task_files.read(path).name for path in YAMLS.glob("[!_]*.yaml")}
    assert names == TASKS | set(GROUPS)
    metadata = {"axbench_data": str(data_folder), "judge": "none", "axbench_writer": "template"}
    loaded = manager(**metadata).load(sorted(GROUPS))
    assert set(loaded["tasks"]) == TASKS
    for group, members in GROUPS.items():
        assert loaded["group_map"][group] == members
    for task in loaded["tasks"].values():
        assert task.config.metadata["headline"] in task.aggregation()
        assert set(task.aggregation()) == set(task.higher_is_better())


def test_the_plugin_registers_what_exists() -> None:
    brought = []
    registrar = SimpleNamespace(
        wrapper=lambda name, **given: brought.append((name, given["stage"], given["hf"])),
        model=lambda name, target: brought.append((name, target)),
        engine=lambda name, target: brought.append((name, target)),
        tasks=lambda folder: brought.append(("tasks", folder)),
        commands=lambda name, target, help: brought.append((name, target)),
    )
    plugin.register(registrar)
    assert ("steered", "edits", "harness_axbench.models.hf:SteeringMixin") in brought
    assert ("proxy", "harness_axbench.assessing.proxy:Proxy") in brought
    assert ("steering", "harness_axbench.engine.part:SteeringPart") in brought
    assert ("tasks", YAMLS) in brought


@pytest.mark.parametrize("method", ["diffmean", "bow"])
def test_detection_end_to_end(
    manager: Manager, llama: str, steering: Path, data_folder: Path, method: str, tmp_path: Path
) -> None:
    lm = steered(llama, steering, method, response_cache=str(tmp_path / "scores.jsonl"))
    metadata = {"axbench_data": str(data_folder), "steering": str(steering)}
    found = evaluate(lm, manager(**metadata), "axbench_detect")
    results = found["results"]["axbench_detect"]
    samples = found["samples"]["axbench_detect"]
    assert len(samples) == 3 * 14
    areas = []
    for concept in range(3):
        items = [s["auroc"] for s in samples if s["auroc"]["concept_id"] == concept]
        items = [i for i in items if i["category"] != "hard negative"]
        labels = [i["category"] == "positive" for i in items]
        areas.append(roc_auc_score(labels, [i["score"] for i in items]))
    assert results["auroc,none"] == pytest.approx(sum(areas) / 3)
    assert results["auroc_stderr,none"] >= 0
    low, high = results["auroc_ci95,none"]
    assert low <= results["auroc,none"] + 1e-4
    assert results["auroc,none"] <= high + 1e-4
    again = steered(llama, steering, method, response_cache=str(tmp_path / "scores.jsonl"))
    again._scores = None  # type: ignore[method-assign]  # nothing may be scored again
    rerun = evaluate(again, manager(**metadata), "axbench_detect")
    assert rerun["results"]["axbench_detect"]["auroc,none"] == results["auroc,none"]


def test_detection_by_a_stock_model(manager: Manager, llama: str, data_folder: Path) -> None:
    lm = HFLM(llama, device="cpu", batch_size=16)
    found = evaluate(lm, manager(axbench_data=str(data_folder)), "axbench_detect")
    assert 0 <= found["results"]["axbench_detect"]["auroc,none"] <= 1


def test_steering_end_to_end_without_a_judge(
    manager: Manager, llama: str, steering: Path, data_folder: Path
) -> None:
    metadata = {"axbench_data": str(data_folder), "steering": str(steering), "judge": "none"}
    found = evaluate(
        steered(llama, steering),
        manager(**metadata),
        "axbench_steer",
        limit=30,
        gen_kwargs="max_gen_toks=4",
    )
    results = found["results"]["axbench_steer"]
    assert results["n_unscored,none"] == 30
    assert results["overall_score_worst,none"] == 0
    assert results["overall_score_best,none"] == 2
    sample = found["samples"]["axbench_steer"][11]
    judged = json.loads(str(sample["filtered_resps"][0]))
    assert judged["trace"]["factor"] == sample["doc"]["factor"] == 0.4
    metadata_kept = found["configs"]["axbench_steer"]["metadata"]
    assert metadata_kept["data_source"].startswith("folder:")


def test_a_stock_model_is_the_baseline(manager: Manager, llama: str, data_folder: Path) -> None:
    found = evaluate(
        HFLM(llama, device="cpu", batch_size=15),
        manager(axbench_data=str(data_folder), judge="none"),
        "axbench_steer",
        gen_kwargs="max_gen_toks=4",
    )
    assert len(found["samples"]["axbench_steer"]) == 15


def test_a_steering_model_without_the_tasks_knowing(
    manager: Manager, llama: str, steering: Path, data_folder: Path
) -> None:
    with pytest.raises(HarnessError, match="axbench_steer: its rows have a concept and no factor"):
        evaluate(
            steered(llama, steering),
            manager(axbench_data=str(data_folder), judge="none"),
            "axbench_steer",
        )


def test_imbalanced_f1_end_to_end(
    manager: Manager, llama: str, steering: Path, data_folder: Path
) -> None:
    metadata: dict[str, Any] = {"axbench_data": str(data_folder), "steering": str(steering)}
    lm = steered(llama, steering)
    plain = evaluate(lm, manager(**metadata), "axbench_detect")["results"]["axbench_detect"]
    assert not any("imbalanced" in name or "without_hard" in name for name in plain)
    assert plain["n_without_threshold,none"] == 0
    asked = manager(**metadata, axbench_imbalanced=18, axbench_f1_without_hard=True)
    found = evaluate(lm, asked, "axbench_detect")
    results, samples = found["results"]["axbench_detect"], found["samples"]["axbench_detect"]
    for name in ("auroc", "f1", "accuracy", "hard_negative_accuracy"):
        assert results[f"{name},none"] == plain[f"{name},none"]
    assert results["f1_without_hard,none"] > results["f1,none"]
    best = []
    for concept in range(3):
        own = [s["auroc"] for s in samples if s["auroc"]["concept_id"] == concept]
        own = [i for i in own if i["category"] in ("positive", "imbalanced negative")]
        assert len(own) == 6 + 18
        labels, scores = ([i["category"] == "positive" for i in own], [i["score"] for i in own])
        best.append(max(f1_score(labels, [s >= t for s in scores]) for t in scores))
    assert results["imbalanced_f1,none"] == pytest.approx(sum(best) / 3)
