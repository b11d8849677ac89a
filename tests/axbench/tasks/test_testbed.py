"""The whole way on the embedded data: train, detect, steer, judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.options import run_options
from harness_axbench.tasks import factors, rows
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.tasks import TaskManager

from harness import compose

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")

Manager = Callable[..., TaskManager]


def run(manager: Manager, task: str, lm: Any, steering: Path, **options: Any) -> dict[str, Any]:
    found = lm_eval.simple_evaluate(
        model=lm,
        tasks=[task],
        task_manager=manager(data="testbed", steering=str(steering)),
        bootstrap_iters=10,
        **options,
    )
    assert found is not None
    return {k.removesuffix(",none"): v for k, v in found["results"][task].items()}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, llama: str) -> Path:
    """A dictionary without training passes over activations: words and random directions."""
    out = tmp_path_factory.mktemp("testbed") / "words"
    options = Options(
        methods=["bow", "random"],
        model=llama,
        layer=0,
        run=run_options({"data": "testbed"}),
        max_act_from="train",
        batch_size=32,
        device="cpu",
        out=out,
    )
    return train(options).folder


def test_words_tell_concepts_apart(manager: Manager, llama: str, words: Path) -> None:
    lm = SteeredHF(llama, steering=str(words), method="bow", device="cpu")
    assert run(manager, "axbench_detect", lm, words)["auroc"] > 0.75


def test_the_testbeds_judge_scores_a_steered_run(manager: Manager, llama: str, words: Path) -> None:
    lm = SteeredHF(llama, steering=str(words), method="random", device="cpu", batch_size=32)
    results = run(manager, "axbench_steer", lm, words, limit=140, gen_kwargs="max_gen_toks=8")
    assert results["overall_score"] == 0
    assert results["n_unscored"] == 0
    assert results["factor"] == 0.2


def test_diffmean_steers_the_teacher(manager: Manager, tmp_path: Path) -> None:
    teacher = "testbed:teacher"
    options = Options(
        methods=["diffmean", "random"],
        model=teacher,
        layer=2,
        run=run_options({"data": "testbed"}),
        batch_size=32,
        device="cpu",
        out=tmp_path / "made",
    )
    steering = train(options).folder
    assert dictionary.read(steering).manifest["model"]["name"] == "testbed:teacher"
    scores, areas = {}, {}
    for method in ("diffmean", "random"):
        lm = SteeredHF(teacher, steering=str(steering), method=method, device="cpu", batch_size=70)
        areas[method] = run(manager, "axbench_detect", lm, steering)["auroc"]
        chosen = {"axbench_steer": _some_rows(steering)}
        scores[method] = run(
            manager,
            "axbench_steer",
            lm,
            steering,
            samples=chosen,
            gen_kwargs="max_gen_toks=40",
            apply_chat_template=True,
        )["overall_score"]
    assert areas["diffmean"] > 0.95
    assert 0.3 < areas["random"] < 0.7
    assert scores["diffmean"] > scores["random"] + 0.2


def _some_rows(steering: Path) -> list[int]:
    def wanted(row: dict[str, Any]) -> bool:
        return row["concept_id"] < 3 and row["factor"] in (0.4, 0.6, 1.0)

    found = rows.steer_docs(data="testbed", steering=str(steering)).rows
    return [place for place, row in enumerate(found) if wanted(row)]


def test_the_baseline_is_comparable_with_a_steered_run(words: Path) -> None:
    baseline = rows.steer_docs(data="testbed")
    steered = rows.steer_docs(data="testbed", steering=str(words))
    assert len(steered.rows) == 2 * len(factors.FACTORS) * len(baseline.rows)
    assert steered.sha256 == baseline.sha256
