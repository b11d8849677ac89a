"""What judging costs: fewer responses judged, and the same score."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_axbench.metrics import chosen_factor, factors_in
from harness_axbench.options import run_options
from harness_axbench.tasks import scopes
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from harness.errors import JudgeError
from harness.judging.rescore import rescore
from harness.leaderboard import read_results
from harness.testbed.assistants.judge import find_concept, instruction_topic
from harness.testbed.assistants.judge_model import TestbedJudge
from harness.testbed.english.answers import answer

from .test_judged_tasks import Obedient
from .test_tasks import evaluate

pytestmark = pytest.mark.long

Manager = Callable[..., TaskManager]
COUNTED = {"alias", "name", "sample_len", "sample_count", "n_unscored"}


class Bent(Obedient):
    """Writes with the concept the more a row is steered, and beyond a point only noise."""

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        return [self._text(request.doc) for request in requests]

    def _text(self, doc: Any) -> str:
        rng = random.Random(json.dumps([doc[k] for k in ("concept", "factor", "instruction")]))
        factor, best = abs(doc["factor"] or 0.0), 0.3 + 0.15 * (doc["concept_id"] % 7)
        topic = str(instruction_topic(doc["instruction"]))
        bent = rng.random() < 0.8 * factor / best
        concept = find_concept(doc["concept"]) if bent == (doc["factor"] > 0) else None
        words = answer("text", topic, concept, rng, strength=0.5, start=0).split()
        if rng.random() < 0.5 * (factor - best):
            rng.shuffle(words)
        return " ".join(words)


@pytest.fixture(scope="module")
def steering(tmp_path_factory: pytest.TempPathFactory, llama: str) -> Path:
    """Random directions for the testbed's concepts: what makes a run one that steers."""
    options = Options(
        methods=["random"],
        model=llama,
        layer=0,
        run=run_options({"data": "testbed"}),
        max_act_from="train",
        batch_size=32,
        device="cpu",
        out=tmp_path_factory.mktemp("scopes") / "random",
    )
    return train(options).folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every question that reaches the testbed's judge."""
    seen: list[str] = []
    stock = TestbedJudge._answer

    def counted(self: Any, request: Any) -> str:
        seen.append(request.args[0])
        return stock(self, request)

    monkeypatch.setattr(TestbedJudge, "_answer", counted)
    return seen


def run(manager: Manager, steering: Path, task: str = "axbench_steer", **metadata: Any) -> Any:
    return evaluate(Bent(), manager(data="testbed", steering=str(steering), **metadata), task)


def values(found: Any, task: str = "axbench_steer") -> dict[str, Any]:
    named = {key.partition(",")[0]: value for key, value in found["results"][task].items()}
    return {key: value for key, value in named.items() if key not in COUNTED}


def note(found: Any, task: str = "axbench_steer") -> dict[str, Any]:
    return dict(found["configs"][task]["metadata"]["judging"])


def factors_of(found: Any, task: str = "axbench_steer") -> dict[int, float | None]:
    items: dict[int, list[Any]] = {}
    for sample in found["samples"][task]:
        items.setdefault(sample["doc"]["concept_id"], []).append(sample["overall_score"])
    return {concept: chosen_factor(own) for concept, own in items.items()}


@pytest.mark.parametrize("task", ["axbench_steer", "axbench_suppress"])
def test_the_score_from_half_of_the_calls(
    manager: Manager, steering: Path, asked: list[str], task: str
) -> None:
    whole = run(manager, steering, task)
    of_all = len(asked)
    asked.clear()
    half = run(manager, steering, task, judge_scope="score")
    assert values(half, task) == values(whole, task)
    assert values(whole, task)["overall_score"] > 0.3
    assert factors_of(half, task) == factors_of(whole, task)
    assert len(set(factors_of(whole, task).values())) > 4
    assert half["results"][task]["n_unscored,none"] == 0
    # 16 concepts × (14 × 5 + 1 × 5) of 16 × 14 × 10 responses, three questions each
    assert note(half, task) == {
        "scope": "score",
        "responses": 2240,
        "judged": 1200,
        "questions": 3600,
    }
    assert note(whole, task)["questions"] == 6720
    assert len(asked) < 0.6 * of_all  # equal questions are asked once
    judged = [s["overall_score"].get("judged", True) for s in half["samples"][task]]
    assert judged.count(True) == 1200


def test_gaps_of_the_judge_are_bounded_as_if_all_were_judged(
    manager: Manager, steering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = TestbedJudge._answer

    def forgetful(self: Any, request: Any) -> str:
        text = request.args[0]
        return "No idea." if random.Random(text).random() < 0.05 else str(stock(self, request))

    monkeypatch.setattr(TestbedJudge, "_answer", forgetful)
    judge = {"model": "testbed-judge", "retries": 0, "backoff": 0}
    few: dict[str, Any] = {"judge": judge, "axbench_concepts": [1, 3, 4, 6, 10, 12]}
    whole, half = run(manager, steering, **few), run(manager, steering, judge_scope="score", **few)
    found = values(whole)
    assert found["overall_score_worst"] < found["overall_score"] < found["overall_score_best"]
    assert values(half) == found
    assert 6 * 75 < note(half)["judged"] < 6 * 140
    unscored = [found["results"]["axbench_steer"]["n_unscored,none"] for found in (half, whole)]
    assert 0 < unscored[0] < unscored[1]


def test_a_race_says_what_it_saved_and_how_often_it_erred(manager: Manager, steering: Path) -> None:
    whole, raced = run(manager, steering), run(manager, steering, judge_scope="race")
    said = note(raced)
    # at least 14 + 7 + 4 × 3 selection responses and 5 of the test for each; 2 are audited
    least = 16 * (14 + 7 + 12 + 5)
    assert least < said["judged"] < least + 300
    assert said["audited"] == 2
    assert 0 <= said["agreed"] <= 2
    low, high = said["agreement_ci95"]
    assert 0 <= low <= said["agreed"] / 2 <= high <= 1
    same = [factors_of(raced)[c] == f for c, f in factors_of(whole).items()]
    assert sum(same) >= 8
    for sample in raced["samples"]["axbench_steer"]:
        item = sample["overall_score"]
        if not item.get("judged", True):
            assert (item["concept"], item["relatedness"], item["fluency"]) == (None, None, None)


def test_without_factors_the_scope_changes_nothing(manager: Manager) -> None:
    whole = evaluate(Obedient(), manager(data="testbed"), "axbench_steer_prompt")
    for scope in ("score", "race"):
        again = evaluate(
            Obedient(), manager(data="testbed", judge_scope=scope), "axbench_steer_prompt"
        )
        assert again["results"] == whole["results"]
        judges = [
            found["configs"]["axbench_steer_prompt"]["metadata"]["judge"]
            for found in (whole, again)
        ]
        assert judges[0] == judges[1]


def test_what_was_not_judged_can_be_judged_later(
    manager: Manager, steering: Path, tmp_path: Path
) -> None:
    task = "axbench_steer"
    whole = values(run(manager, steering, axbench_concepts=[0, 5, 9]))
    tracker = EvaluationTracker(output_path=str(tmp_path / "raced"))
    metadata = {"data": "testbed", "steering": str(steering), "judge_scope": "race"}
    metadata["axbench_concepts"] = [0, 5, 9]  # type: ignore[assignment]
    found = evaluate(Bent(), manager(**metadata), task, evaluation_tracker=tracker)
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    tracker.save_results_samples(task_name=task, samples=samples[task])
    raced = tmp_path / "raced"
    paths = {
        scope: rescore(raced, judge="same", scope=scope, out=tmp_path / scope)
        for scope in ("all", "score", "race")
    }
    again = {scope: json.loads(path.read_text()) for scope, path in paths.items()}
    assert values(again["all"]) == values(again["score"]) == whole
    assert values(again["race"]) == values(found)
    assert note(again["all"]) == {
        "scope": "all",
        "responses": 420,
        "judged": 420,
        "questions": 1260,
    }
    contests = {
        scope: row.contest
        for scope, path in paths.items()
        for row in read_results([path]).rows
        if row.metric == "overall_score"
    }
    assert contests["score"] == contests["all"] != contests["race"]
    assert '"scope":"race"' in contests["race"].judge


def test_several_processes_are_refused(manager: Manager, steering: Path) -> None:
    metadata = {"data": "testbed", "steering": str(steering), "judge_scope": "score"}
    task = manager(**metadata).load(["axbench_steer"])["tasks"]["axbench_steer"]
    with pytest.raises(JudgeError, match="needs all responses in one process"):
        task.build_all_requests(rank=0, world_size=2)


# The rounds by themselves


def rows(scores: dict[float, list[float]]) -> tuple[list[Any], list[Any]]:
    """One concept's rows and rated items; five selection scores a factor, and one test row."""
    docs, items = [], []
    for factor, own in scores.items():
        for number, rating in enumerate([*own, 1.0]):
            split = "select" if number < len(own) else "test"
            docs.append({"instruction": f"i{number}"})
            rated = dict.fromkeys(("concept", "relatedness", "fluency"), rating)
            items.append({"concept_id": 0, "factor": factor, "split": split, **rated})
    return docs, items


def played(
    plan: Callable[[list[Any]], Iterator[Any]], rated: list[Any]
) -> tuple[list[list[int]], list[Any]]:
    """The rounds of a plan, and the items that it ends with."""
    empty = dict.fromkeys(("concept", "relatedness", "fluency")) | {"judged": False}
    items = [item | empty for item in rated]
    rounds = []
    for places in plan(items):
        rounds.append(list(places))
        for place in places:
            assert items[place].get("judged") is False, "nothing is judged twice"
            items[place] = rated[place]
    return rounds, items


def test_halves_go_on_and_one_of_the_last_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "AUDITED", 0)
    docs, rated = rows({
        1.0: [2.0, 0.5, 0.0, 0.0, 0.0],
        2.0: [1.0, 1.0, 1.0, 1.0, 1.0],
        3.0: [0.0, 2.0, 2.0, 2.0, 2.0],  # the best of all, out after the first instruction
        4.0: [0.0, 0.0, 0.0, 0.0, 0.0],
    })  # fmt: skip
    rounds, items = played(lambda items: scopes.Race(docs, items).plan(), rated)
    asked = [[(rated[p]["factor"], docs[p]["instruction"]) for p in places] for places in rounds]
    assert asked[0] == [(1.0, "i0"), (2.0, "i0"), (3.0, "i0"), (4.0, "i0")]
    assert asked[1] == [(1.0, "i1"), (2.0, "i1")]
    assert asked[2] == [(1.0, "i2"), (1.0, "i3"), (1.0, "i4")]
    assert asked[-1] == [(1.0, "i5")]
    assert chosen_factor(items) == 1.0
    assert chosen_factor(rated) == 3.0
    assert factors_in(items) == [1.0, 2.0, 3.0, 4.0]


def test_equals_go_by_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "AUDITED", 0)
    flat = [0.0] * 5
    docs, rated = rows({1.0: flat, 2.0: flat, 3.0: flat, 4.0: [2.0] * 5})
    rounds, _ = played(lambda items: scopes.Race(docs, items).plan(), rated)
    assert {rated[place]["factor"] for place in rounds[1]} == {3.0, 4.0}


def test_where_nothing_is_known_all_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "AUDITED", 0)
    late = [0.0, 0.0, 1.0, 1.0, 1.0]
    docs, rated = rows({1.0: [0.0] * 5, 2.0: late, 3.0: [0.0] * 5})
    rounds, items = played(lambda items: scopes.Race(docs, items).plan(), rated)
    assert [len(places) for places in rounds[:3]] == [3, 3, 9]
    assert chosen_factor(items) == 2.0


def test_an_audited_concept_is_judged_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "AUDITED", 1)
    docs, rated = rows({1.0: [2.0, 0, 0, 0, 0], 2.0: [1.0] * 5, 3.0: [0, 2.0, 2.0, 2.0, 2.0]})
    races = []

    def plan(items: list[Any]) -> Iterator[Any]:
        races.append(scopes.Race(docs, items))
        return iter(races[0].plan())

    _, items = played(plan, rated)
    assert chosen_factor(items) == chosen_factor(rated) == 3.0
    assert races[0].agreed == {0: False}
    assert races[0].note()["agreed"] == 0


def test_a_run_says_that_its_factors_do_not_reach_far_enough(
    manager: Manager, steering: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(manager, steering, axbench_concepts=[0, 3, 5], axbench_factors=[0.01, 0.3])
    (said,) = [r.message for r in caplog.records if "factor tried" in r.message]
    assert said.startswith("axbench_steer: of 3 concepts ")
    assert "at the strongest factor tried, 0.3; others may do better" in said
