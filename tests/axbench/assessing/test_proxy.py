"""The judge without calls: what its ratings follow from, and where they are told apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from harness_axbench.assessing import likelihoods
from harness_axbench.assessing.classifier import ConceptClassifiers
from harness_axbench.assessing.likelihoods import different
from harness_axbench.assessing.proxy import Proxy
from harness_axbench.assessing.scale import Scale
from harness_axbench.data.concepts import load
from harness_axbench.options import run_options
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from axbench.tasks.test_judged_tasks import Obedient
from axbench.tasks.test_tasks import evaluate
from harness.errors import DataError, HarnessError, JudgeError
from harness.judging.judged_task import parse_rating
from harness.judging.rescore import rescore
from harness.leaderboard import read_results
from harness.testbed.assistants.judge import rate
from harness.testbed.english import corpus

pytestmark = pytest.mark.long

Manager = Callable[..., TaskManager]
TEACHER: dict[str, Any] = {"pretrained": "testbed:teacher", "data": "testbed"}


@pytest.fixture(scope="module", autouse=True)
def _few_own_answers() -> Iterator[None]:
    with mock.patch.object(likelihoods, "OWN", 12):
        yield


@pytest.fixture(scope="module")
def teacher() -> Proxy:
    return Proxy(**TEACHER)


def asked(proxy: Proxy, docs: list[dict[str, str]]) -> list[float | None]:
    answers = proxy.generate_until([SimpleNamespace(doc=doc) for doc in docs])
    return [parse_rating(answer, 0, 2) for answer in answers]


def rows() -> list[dict[str, Any]]:
    """Evaluation texts of four concepts, with the concept and without."""
    names = {row["concept_id"]: row["concept"] for row in corpus.concept_metadata()}
    found = [dict(row) for row in corpus.concept_eval() if row["concept_id"] in (0, 4, 8, 12)]
    kept = [row for row in found if row["category"] in ("positive", "negative")]
    return [row | {"concept": names[row["concept_id"]]} for row in kept]


def test_a_line_between_the_quartiles() -> None:
    scale = Scale.between([0, 1, 2, 3, 4], [4, 5, 6, 7, 8])
    assert scale == Scale(3.0, 5.0)
    assert [scale.rating(value) for value in (1, 3, 3.5, 4, 5, 9)] == [0, 0, 0.5, 1, 2, 2]
    assert Scale.between([5, 6, 7], [1, 2, 3]) is None
    assert Scale.between([1, 1], [1, 1]) is None


def test_loops_have_few_different_trigrams() -> None:
    assert different("a b c d e") == different("a b") == different("") == 1
    assert different("to and fro " * 20) == pytest.approx(3 / 58)


def test_concepts_are_told_from_their_training_rows() -> None:
    classifiers = ConceptClassifiers(load(run_options({"data": "testbed"})))
    found: dict[str, list[float]] = {"positive": [], "negative": []}
    for row in rows():
        (rating,) = classifiers.ratings(row["concept"], [row["output"]])
        assert rating is not None
        found[row["category"]].append(rating)
    means = {category: sum(own) / len(own) for category, own in found.items()}
    assert means["positive"] > 0.5 > 0.1 > means["negative"]
    order = [
        positive > negative for positive in found["positive"] for negative in found["negative"]
    ]
    assert sum(order) / len(order) > 0.75
    with pytest.raises(DataError, match=r"has no concept 'hats'.* name the data of the run"):
        classifiers.ratings("hats", ["A hat."])


def test_a_concept_whose_rows_teach_nothing_is_unscored(tmp_path: Path) -> None:
    words = ["the", "a", "small", "house", "door", "we", "see", "green", "old", "near"]
    rng = random.Random(0)
    tables: dict[str, list[dict[str, Any]]] = {"train_data": [], "latent_eval_data": []}
    for table in tables.values():
        for number in range(40):
            category = "negative" if number % 2 else "positive"
            row = {"input": "Say it.", "output": " ".join(rng.choices(words, k=6))}
            row |= {"output_concept": "nothing", "concept_genre": "text", "category": category}
            table.append(row | {"concept_id": 0 if category == "positive" else -1})
    for name, table in tables.items():
        for row in table:
            row["concept_id"] = 0 if name == "latent_eval_data" else row["concept_id"]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in table))
    proxy = Proxy(pretrained="unused", data=str(tmp_path))
    doc = {"rating": "concept", "concept": "nothing", "instruction": "", "response": "the door"}
    assert asked(proxy, [doc]) == [None]


def test_its_ratings_follow_the_truth(teacher: Proxy) -> None:
    rng = random.Random(1)
    some = rng.sample(rows(), 40)
    docs = []
    for place, row in enumerate(some):
        text = row["output"]
        if place % 3 == 1:
            text = " ".join(rng.sample(text.split(), len(text.split())))
        other = some[place - 1]["input"] if place % 3 == 2 else row["input"]
        about = {"concept": row["concept"], "instruction": other, "response": text}
        docs += [{"rating": name, **about} for name in ("concept", "relatedness", "fluency")]
    found = asked(teacher, docs)
    truth = [rate(**doc) for doc in docs]
    for name in ("concept", "relatedness", "fluency"):
        pairs = [(f, t) for f, t, d in zip(found, truth, docs, strict=True) if d["rating"] == name]
        good = [f for f, t in pairs if t == 2]
        bad = [f for f, t in pairs if t == 0]
        assert len(good) > 5
        assert len(bad) > 5
        assert sum(good) / len(good) > sum(bad) / len(bad) + 0.5, name


def test_equal_input_gives_equal_ratings(teacher: Proxy) -> None:
    about = {"concept": rows()[0]["concept"], "instruction": "Describe the garden."}
    texts = [row["output"] for row in rows()[:6]] + ["", "so it goes " * 20]
    docs = [
        {"rating": name, "response": text, **about}
        for text in texts
        for name in ("concept", "relatedness", "fluency")
    ]
    first = asked(teacher, docs)
    again = asked(Proxy(**TEACHER, batch_size=5), docs[::-1])[::-1]
    assert again == pytest.approx(first, abs=0.011), "two decimals, up to rounding"
    assert asked(teacher, docs[4:7]) == first[4:7]
    assert first[19] == first[20] == 0, "an empty response is neither related nor fluent"


def test_a_run_with_it_is_ranked_apart(manager: Manager, tmp_path: Path) -> None:
    metadata = {"data": "testbed", "axbench_concepts": [0, 5]}
    task = "axbench_steer_prompt"
    tracker = EvaluationTracker(output_path=str(tmp_path / "run"))
    found = evaluate(Obedient(), manager(**metadata), task, evaluation_tracker=tracker)
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    tracker.save_results_samples(task_name=task, samples=samples[task])
    judge = json.dumps({"model": "proxy", "model_args": {"pretrained": "testbed:teacher"}})
    path = rescore(tmp_path / "run", judge=judge, out=tmp_path / "proxy")
    saved = json.loads(path.read_text())
    note = saved["configs"][task]["metadata"]["judge"]
    assert note["model"] == "proxy"
    assert note["model_args"] == {"pretrained": "testbed:teacher", "data": "testbed"}
    assert len(note["revision"]) == 64
    proxied = saved["results"][task]
    assert proxied["overall_score,none"] > 1, "an obedient model is good by any judge"
    assert proxied["n_unscored,none"] == 0
    contests = [
        row.contest
        for place in (tmp_path / "run", tmp_path / "proxy")
        for row in read_results([place]).rows
        if row.metric == "overall_score"
    ]
    assert contests[0] != contests[1]
    assert '"model":"proxy"' in contests[1].judge
    with pytest.raises(JudgeError, match="has data, which a results file does not decide"):
        rescore(path, judge="same", out=tmp_path / "again")


def test_what_it_needs_is_said_before_anything_is_generated(
    manager: Manager, data_folder: Path
) -> None:
    def loaded(**metadata: Any) -> None:
        manager(judge={"model": "proxy"}, **metadata).load(["axbench_steer"])

    with pytest.raises(JudgeError, match=r"needs an unsteered model.*names none by pretrained="):
        loaded(data="testbed")
    with pytest.raises(JudgeError, match="name the folder of the data"):
        loaded(axbench_data=str(data_folder), pretrained="tiny")
    loaded(data="testbed", pretrained="testbed:teacher")
    with pytest.raises(HarnessError, match="judge 'proxy' needs an unsteered model"):
        Proxy()
    with pytest.raises(HarnessError, match="rates steered responses and nothing else"):
        asked(Proxy(**TEACHER), [{"rating": "safety", "prompt": "?", "response": "!"}])
    lost = Proxy(pretrained="/nowhere/model", data="testbed")
    doc = {"rating": "fluency", "concept": "", "instruction": "a", "response": "b"}
    with pytest.raises(HarnessError, match="no such folder"):
        asked(lost, [doc])


def test_a_local_model_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Proxy
) -> None:
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path))
    instructions = teacher._likelihoods._instructions
    first = likelihoods.Likelihoods("testbed:teacher", instructions)
    taken = first._measure
    (kept,) = (tmp_path / "measures").iterdir()
    second = likelihoods.Likelihoods("testbed:teacher", instructions)
    with mock.patch.object(likelihoods.Likelihoods, "_answers", side_effect=AssertionError):
        assert second._measure == taken
        other = likelihoods.Likelihoods("testbed:teacher", instructions[1:])
        with pytest.raises(AssertionError):
            _ = other._measure
    kept.write_text("{")
    assert likelihoods.Likelihoods("testbed:teacher", instructions)._measure == taken
    assert json.loads(kept.read_text())["varied"] == taken.varied
