"""Steering, suppression and prompting on the testbed, with models whose answers are known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from axbench.conftest import YAMLS
from harness.errors import DataError
from harness.judging.judged_task import Judgement
from harness.judging.rescore import rescore
from harness.testbed.assistants.judge import find_concept, instruction_topic, rate_concept
from harness.testbed.assistants.judge_model import TestbedJudge
from harness.testbed.english.answers import answer

from .test_tasks import evaluate

pytestmark = pytest.mark.long

Manager = Callable[..., TaskManager]


class Obedient(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Writes about what it is asked, with the concept if the user turn names it."""

    def __init__(self, obeys: bool = True, answer: str = "") -> None:
        super().__init__()
        self.obeys, self.answer, self.turns = obeys, answer, []

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts = []
        for place, request in enumerate(requests):
            doc, turn = request.doc, request.args[0]
            self.turns.append(turn)
            if "instruction" not in doc:
                texts.append(self.answer)
                continue
            concept = find_concept(doc["concept"])
            asked = concept if self.obeys and concept.description in turn else None
            topic = str(instruction_topic(doc["instruction"]))
            texts.append(answer("text", topic, asked, random.Random(place), strength=1.0, start=0))
        return texts

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


TWO: dict[str, Any] = {"data": "testbed", "axbench_concepts": [0, 5]}


def _value(found: Any, task: str) -> dict[str, Any]:
    return {k.removesuffix(",none"): v for k, v in found["results"][task].items()}


def test_a_prompt_that_is_obeyed_steers(manager: Manager) -> None:
    lm = Obedient()
    plain = _value(evaluate(lm, manager(**TWO), "axbench_steer"), "axbench_steer")
    assert plain["overall_score"] == plain["concept_score"] == 0
    assert plain["instruct_score"] == 2
    assert not {"factor", "perplexity", "win_rate", "win_rate_ci95"} & set(plain)
    lm.turns.clear()
    found = evaluate(lm, manager(**TWO), "axbench_steer_prompt")
    prompted = _value(found, "axbench_steer_prompt")
    assert prompted["overall_score"] > 1.5
    assert len(lm.turns) == 10
    doc = found["samples"]["axbench_steer_prompt"][0]["doc"]
    assert lm.turns[0] == f" {doc['steering_prompt']}\n\nQuestion: {doc['instruction']}"
    metadata = found["configs"]["axbench_steer_prompt"]["metadata"]
    assert metadata["writer"] == {"model": "template"}


def test_suppression_is_good_where_the_prompt_is_not_obeyed(manager: Manager) -> None:
    obeyed = _value(evaluate(Obedient(), manager(**TWO), "axbench_suppress"), "axbench_suppress")
    resisted = evaluate(Obedient(obeys=False), manager(**TWO), "axbench_suppress")
    assert obeyed["overall_score"] < 0.5
    assert _value(resisted, "axbench_suppress")["overall_score"] > 1.5
    assert _value(resisted, "axbench_suppress")["absence_score"] == 2
    assert "concept_score,none" not in resisted["results"]["axbench_suppress"]
    for sample in resisted["samples"]["axbench_suppress"]:
        item = sample["overall_score"]
        assert item["absence"] == 2 - item["concept"]


@pytest.mark.parametrize("task", ["axbench_steer", "axbench_steer_prompt", "axbench_suppress"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_judge_that_gives_no_rating(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, task: str, strict: bool
) -> None:
    monkeypatch.setattr(TestbedJudge, "_answer", lambda self, request: "No idea.")
    rule = {"judge_strict": "reference"} if strict else {"judge_max_unscored": 1}
    judge = {"model": "testbed-judge", "retries": 0, "backoff": 0}
    results = _value(evaluate(Obedient(), manager(**TWO, **rule, judge=judge), task), task)
    if strict:
        assert (results["n_unscored"], results["overall_score"]) == (0, 0)
        return
    assert results["n_unscored"] == 10
    assert results["overall_score"] is None
    assert (results["overall_score_worst"], results["overall_score_best"]) == (0, 2)


def test_perplexity_is_reported_where_the_model_gives_it(manager: Manager) -> None:
    task = manager(**TWO).load(["axbench_steer"])["tasks"]["axbench_steer"]
    doc = {"concept_id": 0, "factor": None, "split": "test"}
    rated = dict.fromkeys(("concept", "relatedness", "fluency"), 1.0)
    plain = task.process_results(doc, [Judgement("a", {}, rated, {})])
    assert "perplexity" not in plain
    traced = task.process_results(doc, [Judgement("a", {"perplexity": 7.5}, rated, {})])
    assert set(traced) == {*plain, "perplexity"}
    assert traced["overall_score"]["perplexity"] == 7.5
    assert task.aggregation()["perplexity"]([traced["perplexity"]] * 2) == 7.5


# Win rates


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run of prompt steering, obeyed, on concepts 0 and 5."""
    folder = tmp_path_factory.mktemp("earlier")
    manager = TaskManager(include_path=str(YAMLS), include_defaults=False, metadata=TWO)
    for task, lm in (("axbench_steer_prompt", Obedient()), ("axbench_suppress", Obedient(False))):
        tracker = EvaluationTracker(output_path=str(folder / task))
        found = evaluate(lm, manager, task, evaluation_tracker=tracker)
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return folder


def test_win_rate_against_an_earlier_run(manager: Manager, earlier: Path) -> None:
    prompted = earlier / "axbench_steer_prompt"
    files = [prompted, next(prompted.rglob("results_*.json")), next(prompted.rglob("*.jsonl"))]
    for place in files:
        run = manager(**TWO, axbench_baseline=str(place))
        lost = _value(evaluate(Obedient(), run, "axbench_steer"), "axbench_steer")
        assert (lost["win_rate"], lost["win_rate_ci95"]) == (0, None)  # of two concepts
    tied = _value(evaluate(Obedient(), run, "axbench_steer_prompt"), "axbench_steer_prompt")
    assert tied["win_rate"] == 0.5
    run = manager(**TWO, axbench_baseline=str(earlier / "axbench_suppress"))
    found = evaluate(Obedient(obeys=False), run, "axbench_suppress")
    assert _value(found, "axbench_suppress")["win_rate"] == 0.5
    assert (
        _value(evaluate(Obedient(), run, "axbench_suppress"), "axbench_suppress")["win_rate"] == 0
    )


def test_baselines_that_do_not_fit(manager: Manager, earlier: Path, tmp_path: Path) -> None:
    def load(task: str, place: object, **changes: Any) -> None:
        metadata = {"data": "testbed", "judge": "none", "axbench_baseline": str(place), **changes}
        manager(**metadata).load([task])

    prompted, suppressed = earlier / "axbench_steer_prompt", earlier / "axbench_suppress"
    with pytest.raises(DataError, match=r"has nothing as concept 1, this run .*axbench_concepts="):
        load("axbench_steer", prompted)
    with pytest.raises(DataError, match="no axbench_steer or axbench_steer_prompt in it"):
        load("axbench_steer", suppressed, axbench_concepts=[0])
    with pytest.raises(DataError, match="these are not samples of axbench_steer or"):
        load("axbench_steer", next(suppressed.rglob("*.jsonl")), axbench_concepts=[0])
    with pytest.raises(DataError, match="these are not samples of axbench_suppress"):
        load("axbench_suppress", next(prompted.rglob("*.jsonl")), axbench_concepts=[0])
    with pytest.raises(DataError, match="nowhere"):
        load("axbench_steer", tmp_path / "nowhere.jsonl")
    samples = [
        json.loads(line) for line in next(prompted.rglob("*.jsonl")).read_text().splitlines()
    ]
    for sample in samples:
        sample["overall_score"] |= dict.fromkeys(("concept", "relatedness", "fluency"))
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    with pytest.raises(DataError, match="nothing in it is scored; judge it first: harness score"):
        load("axbench_steer", path, axbench_concepts=[0])


def test_judging_again_gives_the_same(earlier: Path, tmp_path: Path) -> None:
    for task in ("axbench_steer_prompt", "axbench_suppress"):
        saved = json.loads(next((earlier / task).rglob("results_*.json")).read_text())
        again = json.loads(rescore(earlier / task, out=tmp_path / task, judge="same").read_text())
        assert again["results"][task] == saved["results"][task]
        assert again["configs"][task]["metadata"]["writer"] == {"model": "template"}


# Prompt detection


def test_a_rating_in_words_is_the_score(manager: Manager) -> None:
    class Reader(Obedient):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            texts = [r.doc["output"] for r in requests]
            rated = [
                rate_concept(t, r.doc["concept"]) for t, r in zip(texts, requests, strict=True)
            ]
            return ["?" if place < 3 else f"Rating: [[{r}]]" for place, r in enumerate(rated)]

    found = evaluate(Reader(), manager(**TWO), "axbench_detect_prompt")
    results = _value(found, "axbench_detect_prompt")
    assert results["n_unparsed"] == 3
    assert results["auroc"] > 0.9
    first, *_, last = found["samples"]["axbench_detect_prompt"]
    assert first["auroc"] == {
        "concept_id": 0,
        "category": "positive",
        "score": -1,
        "unparsed": True,
    }
    assert last["auroc"]["score"] in (0, 1, 2)
    config = found["configs"]["axbench_detect_prompt"]["generation_kwargs"]
    assert (config["max_gen_toks"], config["do_sample"]) == (512, False)


def test_answers_without_a_rating_are_counted(manager: Manager) -> None:
    lm = Obedient(answer="I would rather not say.")
    results = _value(evaluate(lm, manager(**TWO), "axbench_detect_prompt"), "axbench_detect_prompt")
    assert results["n_unparsed"] == len(lm.turns) == 2 * 81
    assert results["auroc"] == 0.5
