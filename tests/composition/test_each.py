"""From a run that selects factors to one that steers other rows by them, in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from composition.steering import GREEDY, asked
from harness import compose, trace_of
from harness.errors import DataError

pytestmark = pytest.mark.long

ARGUMENTS = {"device": "cpu", "dtype": "float64", "batch_size": 32, "method": "diffmean"}
YAMLS = Path(__file__).parents[2] / "task_yamls" / "axbench"


def model(name: str, steering: Path, **more: Any) -> Any:
    drafting = {"drafter": "testbed:student"} if "speculative" in name else {}
    given = {"steering": str(steering)} | ARGUMENTS | drafting | more
    return compose(name)("testbed:teacher", **given)


@pytest.fixture(scope="module")
def selecting(tmp_path_factory: pytest.TempPathFactory, of_teacher: Path) -> Path:
    """``axbench_steer`` on the testbed: three concepts, two factors; decoded with a drafter."""
    metadata = {"data": "testbed", "axbench_concepts": [0, 3, 5], "axbench_factors": [0.4, 1.0]}
    found = simple_evaluate(
        model=model("hf-steered+speculative", of_teacher),
        tasks=["axbench_steer"],
        task_manager=TaskManager(
            include_path=str(YAMLS),
            include_defaults=False,
            metadata=metadata | {"steering": str(of_teacher), "method": "diffmean"},
        ),
        gen_kwargs="max_gen_toks=12",
        apply_chat_template=True,
        bootstrap_iters=10,
        log_samples=True,
    )
    assert found is not None
    folder = tmp_path_factory.mktemp("selecting")
    tracker, samples = EvaluationTracker(str(folder)), found.pop("samples")
    tracker.save_results_aggregated(found, samples)
    tracker.save_results_samples("axbench_steer", samples["axbench_steer"])
    return folder


def selected(folder: Path) -> dict[int, float]:
    """By hand, from the ratings in the samples."""
    means: dict[int, dict[float, list[float]]] = {}
    for line in next(folder.rglob("samples_*")).read_text().splitlines():
        item = json.loads(line)["overall_score"]
        if item["split"] == "select":
            three = [item[name] for name in ("concept", "relatedness", "fluency")]
            score = 0.0 if 0 in three else 3 / sum(1 / rating for rating in three)
            means.setdefault(item["concept_id"], {}).setdefault(item["factor"], []).append(score)
    return {
        concept: max(sorted(own), key=lambda factor: sum(own[factor]))
        for concept, own in means.items()
    }


def test_selected_factors_steer_other_rows(of_teacher: Path, selecting: Path) -> None:
    factors = selected(selecting)
    steered = model("hf-steered", of_teacher, concept="each", factors=str(selecting))
    both = model("hf-steered+speculative", of_teacher, concept="each", factors=str(selecting))
    assert {one.concept_id: one.factor for one in steered.plan.each} == factors
    requests = [request for request in asked(GREEDY) if not request.doc]
    requests += asked(GREEDY)[:3]  # rows with a concept of their own
    answers = steered.generate_until(requests, disable_tqdm=True)
    assert list(map(str, answers)) == list(map(str, both.generate_until(requests)))
    for request, answer in zip(requests, answers, strict=True):
        concept = request.doc.get("concept_id", (0, 3, 5)[request.doc_id % 3])
        assert trace_of(answer)["concept_id"] == concept
        assert trace_of(answer)["factor"] == request.doc.get("factor", factors[concept])


def test_a_run_of_another_method_selects_nothing(of_teacher: Path, selecting: Path) -> None:
    with pytest.raises(DataError, match="with method=diffmean, this run is with random"):
        model("hf-steered", of_teacher, concept="each", factors=str(selecting), method="random")
