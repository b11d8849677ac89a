"""``concept=each`` on two tasks in lm-eval's own way, against a loop concept by concept."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from axbench.steered_runs import write_run
from harness import compose
from harness.models.responses import trace_of

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")

SELECTED = {0: 1.2, 1: 0.4, 2: 3.0}
RATINGS = {
    c: {f: [2.0 if f == own else 1.0] for f in (0.4, 1.2, 3.0)} for c, own in SELECTED.items()
}
PEOPLE = (("Anna", "Ben"), ("Clara", "David"), ("Emma", "Frank"))
PLACES = ("house", "old green door", "very small house")
ROWS = [
    {
        "question": f"{who} and {other} see the {place}. We see",
        "people": [who, other],
        "answer": k % 2,
    }
    for k, (who, other) in enumerate(PEOPLE)
    for place in PLACES
][:8]  # not a multiple of the three concepts
WRITING = {"until": ["."], "max_gen_toks": 8, "do_sample": False}
CHOICE, WRITTEN = "people_choice", "people_written"


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory, llama: str, steering: Path) -> str:
    """A run that has selected a factor of its own for each concept."""
    edit = model(llama, steering).plan.edit
    return str(write_run(tmp_path_factory.mktemp("runs") / "steer", edit, RATINGS))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, llama: str, steering: Path) -> TaskManager:
    """Both tasks; what is to be written is what the model steered to concept 0 writes."""
    folder = tmp_path_factory.mktemp("tasks")
    first = model(llama, steering, concept=0, factor=SELECTED[0])
    asked = [
        Instance("generate_until", {}, (row["question"], dict(WRITING)), 0, ("t", k, 1))
        for k, row in enumerate(ROWS)
    ]
    lines = [
        json.dumps(row | {"written": str(text)})
        for row, text in zip(ROWS, first.generate_until(asked), strict=True)
    ]
    (folder / "people.jsonl").write_text("\n".join(lines))
    source = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / "people.jsonl")},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "doc_to_text": "{{question}}",
    }
    choice = {
        "task": CHOICE,
        "output_type": "multiple_choice",
        "doc_to_choice": "{{people}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    written = {
        "task": WRITTEN,
        "output_type": "generate_until",
        "doc_to_target": "{{written}}",
        "generation_kwargs": WRITING,
        "metric_list": [{"metric": "exact_match"}],
    }
    for task in (choice, written):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(source | task))
    return TaskManager(include_path=str(folder), include_defaults=False)


def model(llama: str, steering: Path, name: str = "hf-steered", **options: Any) -> Any:
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 3, "method": "diffmean"}
    return compose(name)(llama, steering=str(steering), **settings | options)


def evaluated(lm: Any, manager: TaskManager, **options: Any) -> dict[str, Any]:
    found = simple_evaluate(
        model=lm,
        tasks=[CHOICE, WRITTEN],
        task_manager=manager,
        bootstrap_iters=10,
        log_samples=True,
        **options,
    )
    assert found is not None
    return found


def rows_of(found: dict[str, Any], task: str) -> list[dict[str, Any]]:
    return sorted(found["samples"][task], key=lambda row: row["doc_id"])


def choices(row: dict[str, Any]) -> list[float]:
    """Log-probability of each choice."""
    return [float(answer[0]) for answer in row["filtered_resps"]]


def test_each_equals_a_loop_over_the_concepts(
    llama: str, steering: Path, manager: TaskManager, factors: str
) -> None:
    found = evaluated(model(llama, steering, concept="each", factors=factors), manager)
    loop = {
        concept: evaluated(model(llama, steering, concept=concept, factor=factor), manager)
        for concept, factor in SELECTED.items()
    }

    def of_loop(task: str) -> list[dict[str, Any]]:
        return [rows_of(loop[k % 3], task)[k] for k in range(len(ROWS))]

    for own, alone in zip(rows_of(found, CHOICE), of_loop(CHOICE), strict=True):
        assert choices(own) == pytest.approx(choices(alone), abs=1e-4)
        assert (own["acc"], own["acc_norm"]) == (alone["acc"], alone["acc_norm"])
    written = rows_of(found, WRITTEN)
    assert [row["resps"] for row in written] == [row["resps"] for row in of_loop(WRITTEN)]
    for task, metric in ((CHOICE, "acc"), (CHOICE, "acc_norm"), (WRITTEN, "exact_match")):
        mean = fmean(row[metric] for row in of_loop(task))
        assert found["results"][task][f"{metric},none"] == pytest.approx(mean)
    assert [row["exact_match"] for row in written] == [1, 0, 0, 1, 0, 0, 1, 0]
    assert len({tuple(choices(row)) for row in rows_of(found, CHOICE)}) == len(ROWS)


def test_results_say_whose_turn_it_was(
    llama: str, steering: Path, manager: TaskManager, factors: str, caplog: pytest.LogCaptureFixture
) -> None:
    lm = model(llama, steering, concept="each", factors=factors)
    evaluated(lm, manager, limit=2)
    info = lm.get_model_info()
    few = {"rows": 2, "concepts": 2, "fewest": 0, "most": 1}
    assert info["each"] == {
        "concepts": [0, 1, 2],
        "factors": [1.2, 0.4, 3.0],
        "rows": {CHOICE: few, WRITTEN: few},
    }
    assert "had 2 rows for 3 concepts" in caplog.text
    assert info["method"] == "diffmean"
    assert info["method_args"]["concept_id"] == "each"
    assert info["applied"] == {CHOICE: "4 of 4", WRITTEN: "2 of 2"}
    assert info["steered"] == lm.plan.edit


def scored(number: int, text: str = "we see the old", answer: str = " house") -> Any:
    return Instance("loglikelihood", {}, (text, answer), 0, ("t", number, 1))


def test_rows_of_different_concepts_share_a_pass(
    llama: str, steering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many passes as for one concept; texts that are alike but for their concept take turns."""
    texts = [f"we see the old {word}" for word in ("a", "the", "small", "green", "near", "and")]
    apart = [scored(k, text, answer) for k, text in enumerate(texts) for answer in (" a", " the")]
    alike = [scored(k) for k in range(6)]
    passes = {}
    for name, how in {"each": {"concept": "each"}, "one": {"concept": 1}}.items():
        lm = model(llama, steering, factor=1.5, **how)
        for what, requests in {"apart": apart, "alike": alike}.items():
            calls = counted(lm, monkeypatch)
            found = lm.loglikelihood(requests, disable_tqdm=True)
            passes[name, what] = calls.n
            assert [trace_of(answer)["concept_id"] for answer in found] == [
                request.doc_id % 3 if name == "each" else 1 for request in requests
            ]
    assert passes["each", "apart"] == passes["one", "apart"] == 2  # six contexts, in threes
    assert passes["each", "alike"] == 3
    assert passes["one", "alike"] == 1


def counted(lm: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    calls, stock = SimpleNamespace(n=0), type(lm.model).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.n += 1
        return stock(self, *args, **kwargs)

    monkeypatch.setattr(type(lm.model), "forward", forward)
    return calls


def test_the_batch_size_is_found_under_steering(llama: str, steering: Path) -> None:
    requests = [scored(k, f"we see the {'old ' * k}") for k in range(5)]
    by_itself = model(llama, steering, concept="each", factor=1.5, batch_size="auto",
                      max_batch_size=4)  # fmt: skip
    found = by_itself.loglikelihood(requests, disable_tqdm=True)
    expected = model(llama, steering, concept="each", factor=1.5).loglikelihood(requests)
    assert [a[0] for a in found] == pytest.approx([a[0] for a in expected], abs=1e-4)


def test_rows_of_different_concepts_are_cached_apart(
    llama: str, steering: Path, factors: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "answers.jsonl")
    lm = model(llama, steering, concept="each", factors=factors, response_cache=cache)
    before = lm.loglikelihood([scored(k) for k in range(3)])
    assert len({round(answer[0], 4) for answer in before}) == 3
    again = model(llama, steering, concept="each", factors=factors, response_cache=cache)
    calls = counted(again, monkeypatch)
    assert again.loglikelihood([scored(k) for k in (5, 4, 3)]) == before[::-1]
    one = model(llama, steering, concept=1, factor=SELECTED[1], response_cache=cache)
    assert one.loglikelihood([scored(0)]) == before[1:2]
    assert calls.n == 0
    model(llama, steering, concept="each", factor=9.0, response_cache=cache).loglikelihood(
        [scored(0)]
    )
    assert calls.n == 1


def test_with_a_drafter_the_answers_are_the_same(
    llama: str, steering: Path, manager: TaskManager, factors: str
) -> None:
    given = {"concept": "each", "factors": factors}
    plain = evaluated(model(llama, steering, **given), manager)
    both = model(llama, steering, "hf-steered+speculative", drafter="ngram", **given)
    found = evaluated(both, manager)
    for task in (CHOICE, WRITTEN):
        assert found["results"][task] == pytest.approx(plain["results"][task])
    assert [r["resps"] for r in rows_of(found, WRITTEN)] == [
        r["resps"] for r in rows_of(plain, WRITTEN)
    ]
    info = both.get_model_info()
    assert info["method"].startswith("steered(diffmean, each concept × its own factor)")
    assert info["steered"] == both.plan.edit
    assert info["each"]["rows"][WRITTEN]["rows"] == len(ROWS)
