"""The tasks through lm-eval's own evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lm_eval
import pytest
import yaml
from harness_axbench import plugin, tasks
from harness_axbench.hf_model import SteeredHF
from harness_axbench.tasks import FACTORS
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from sklearn.metrics import roc_auc_score

from harness import host
from harness.errors import DataError, HarnessError

from .conftest import YAMLS

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


def test_every_yaml_loads(manager: Manager, data_folder: Path) -> None:
    names = {yaml.load(p.read_text(), host._NamesOnly)["task"] for p in YAMLS.glob("*.yaml")}
    assert names == {"axbench_steer", "axbench_detect"}
    loaded = manager(axbench_data=str(data_folder), judge="none").load(sorted(names))
    assert set(loaded["tasks"]) == names


def test_the_plugin_registers_what_exists() -> None:
    brought = []
    registrar = SimpleNamespace(
        model=lambda name, target: brought.append((name, target)),
        tasks=lambda folder: brought.append(("tasks", folder)),
        commands=lambda name, target, help: brought.append((name, target)),
    )
    plugin.register(registrar)
    assert ("hf-steered", "harness_axbench.hf_model:SteeredHF") in brought
    assert ("tasks", YAMLS) in brought


def test_rows_of_a_steering_run(data_folder: Path, steering: Path) -> None:
    sourced = tasks.steer_docs(axbench_data=str(data_folder), steering=str(steering))
    assert len(sourced.rows) == 3 * 14 * 10
    assert [row["factor"] for row in sourced.rows[:140:10]] == list(FACTORS)
    assert sourced.rows[4]["split"] == "select"
    assert sourced.rows[5]["split"] == "test"
    assert {row["concept_id"] for row in sourced.rows[140:280]} == {1}


def test_rows_of_the_baseline(data_folder: Path) -> None:
    sourced = tasks.steer_docs(axbench_data=str(data_folder))
    assert len(sourced.rows) == 3 * 5
    assert {(row["factor"], row["split"]) for row in sourced.rows} == {(None, "test")}


def test_a_dictionary_of_other_data_is_refused(steering: Path) -> None:
    with pytest.raises(DataError, match=r"in the dictionary .* it is 'the sea'"):
        tasks.steer_docs(data="testbed", steering=str(steering))
    with pytest.raises(DataError, match="Train on the data that you evaluate"):
        tasks.detect_docs(data="testbed", steering=str(steering))


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
