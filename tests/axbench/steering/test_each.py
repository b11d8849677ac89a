"""``concept=each``: whose turn a row is, and at which factor."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness_axbench.models.telling import InTurn, arguments, by_default
from harness_axbench.steering.plan import Plan, choose, make_plan

from axbench.steered_runs import STAMP, write_run
from harness import HarnessError, compose

RATINGS = {
    0: {0.4: [1, 1], 1.2: [2, 1], 3.0: [1, 0]},  # 1, 1.5, 0.5
    1: {0.4: [1, 2], 1.2: [2, 1], 3.0: [0, 0]},  # a tie goes to the weakest
    2: {0.4: [1, 1], 1.2: [1, None], 3.0: [2, None]},  # a missing rating is left out
}
SELECTED = {0: 1.2, 1: 0.4, 2: 3.0}


def row(number: Any, doc: dict[str, Any] | None = None, task: str = "arc") -> Any:
    return SimpleNamespace(doc={} if doc is None else doc, doc_id=number, task_name=task)


@pytest.fixture
def plan(steering: Path) -> Plan:
    return make_plan(str(steering), "diffmean", None, None)


@pytest.fixture
def each(steering: Path) -> Callable[..., Plan]:
    def make(**given: Any) -> Plan:
        how = {"method": "diffmean", "concept": "each", "factor": None} | given
        return make_plan(str(steering), how.pop("method"), how.pop("concept"), how.pop("factor"),
                         **how)  # fmt: skip

    return make


def test_rows_take_turns(each: Callable[..., Plan]) -> None:
    found = [choose(each(factor=1.5), row(number), set()) for number in range(7)]
    assert [one.concept_id for one in found if one] == [0, 1, 2, 0, 1, 2, 0]
    assert {one.factor for one in found if one} == {1.5}


def test_a_rows_own_concept_stays(each: Callable[..., Plan]) -> None:
    own = choose(each(factor=1.5), row(1, {"concept_id": 2, "factor": 0.4}), set())
    assert own is not None
    assert (own.concept_id, own.factor) == (2, 0.4)


def test_a_row_without_a_number_is_refused(each: Callable[..., Plan]) -> None:
    with pytest.raises(HarnessError, match="arc: its rows have no number"):
        choose(each(factor=1.5), row(None), set())


def test_factors_are_those_that_a_run_selected(
    plan: Plan, each: Callable[..., Plan], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", plan.edit, RATINGS)
    for place in (run, tmp_path, run / f"results_{STAMP}.json"):
        found = each(factors=str(place)).each
        assert {one.concept_id: one.factor for one in found} == SELECTED


def test_a_run_of_some_concepts_is_over_those(
    plan: Plan, each: Callable[..., Plan], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "run", plan.edit, {2: RATINGS[2], 0: RATINGS[0]})
    with caplog.at_level(logging.WARNING):
        found = each(factors=str(run)).each
    assert [one.concept_id for one in found] == [0, 2]
    assert "has 2 of the dictionary's 3 concepts" in caplog.text


def test_what_has_no_factor_needs_none(each: Callable[..., Plan], tmp_path: Path) -> None:
    plan = each(intervention="null_out")
    assert [one.factor for one in plan.each] == [None, None, None]
    ratings = {concept: {None: []} for concept in range(3)}
    run = write_run(tmp_path / "run", plan.edit, ratings)
    assert each(intervention="null_out", factors=str(run)).each == plan.each


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"concept=each needs to be told how strongly.*factors=RUN.*factor=F"),
        ({"factors": ""}, r"concept=each needs to be told how strongly"),
        ({"factor": 1.0, "factors": "runs"}, r"factor= and factors= both say how strongly"),
        ({"concept": 1, "factors": "runs"}, r"factors=RUN goes with concept=each"),
        ({"concept": None, "factors": "runs"}, r"factors=RUN goes with concept=each"),
        ({"factor": "big"}, r"factor=big: write a number"),
        ({"concept": "all", "factor": 1.0}, r"concept=all: write a whole number, or each"),
        ({"method": "bow", "factor": 1.0}, r"method=bow cannot steer"),
        ({"factors": "nowhere"}, r"nowhere cannot be read as lm-eval's results: No such file"),
    ],
)
def test_arguments_that_say_too_little_or_too_much(
    each: Callable[..., Plan], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as told:
        each(**given)
    assert "\n" not in str(told.value)


def _without_samples(run: Path) -> None:
    next(run.glob("samples_*")).unlink()


def _cut(run: Path) -> None:
    path = next(run.glob("samples_*"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))


def _damaged(run: Path) -> None:
    path = next(run.glob("samples_*"))
    path.write_text(path.read_text().replace('"split": "select"', '"split": "chosen"', 1))


def _unjudged(run: Path) -> None:
    path = next(run.glob("samples_*"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(r | {"overall_score": None}) + "\n" for r in rows))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without_samples, r"no such file; samples are saved by lm_eval --log_samples"),
        (_cut, r"holds 25 of 27 samples; it is cut or damaged"),
        (_damaged, r"overall_score of sample 1 of axbench_steer is damaged: split"),
        (_unjudged, r"sample 1 of axbench_steer has no overall_score; judge the run"),
        (lambda run: next(run.glob("results_*")).write_text("{"), r"cannot be read as lm-eval's"),
        (lambda run: next(run.glob("results_*")).unlink(), r"no results_\*.json in this folder"),
    ],
)
def test_runs_that_cannot_be_read(
    plan: Plan,
    each: Callable[..., Plan],
    tmp_path: Path,
    harm: Callable[[Path], None],
    message: str,
) -> None:
    run = write_run(tmp_path / "run", plan.edit, RATINGS)
    harm(run)
    with pytest.raises(HarnessError, match=message) as told:
        each(factors=str(run))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("edit", "changes", "message"),
    [
        ({"artefact_hash": "f" * 64}, {}, r"was steered with artefact_hash=ffff"),
        ({"method": "random"}, {}, r"with method=random, this run is with diffmean"),
        ({"intervention": "clamp"}, {}, r"with intervention=clamp, this run is with add"),
        ({"positions": "prompt"}, {}, r"with positions=prompt, this run is with all"),
        (None, {}, r"axbench_steer was not steered in it"),
        ({}, {"config": {"steered": {"method": 3}}}, r"results_.* is damaged: config.steered"),
        ({}, {"configs": {"axbench_suppress": {}}}, r"no axbench_steer in it, only axbench_supp"),
        (
            {},
            {"n-samples": {"axbench_steer": {"original": 900, "effective": 23}}},
            r"23 of the 900 rows of axbench_steer only",
        ),
        ({}, {"n-samples": {}}, r"n-samples.axbench_steer is damaged"),
    ],
)
def test_runs_of_another_steering(
    plan: Plan,
    each: Callable[..., Plan],
    tmp_path: Path,
    edit: dict[str, str] | None,
    changes: dict[str, Any],
    message: str,
) -> None:
    theirs = None if edit is None else plan.edit | edit
    run = write_run(tmp_path / "run", theirs, RATINGS, **changes)
    with pytest.raises(HarnessError, match=message) as told:
        each(factors=str(run))
    assert "\n" not in str(told.value)


def test_a_concept_that_nothing_was_selected_for(
    plan: Plan, each: Callable[..., Plan], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", plan.edit, RATINGS | {1: {0.4: [None], 1.2: [None, None]}})
    with pytest.raises(HarnessError, match=r"for 1 of its 3 concepts \(1\).*harness score"):
        each(factors=str(run))
    strange = write_run(tmp_path / "strange", plan.edit, {**RATINGS, 7: RATINGS[0]})
    with pytest.raises(HarnessError, match="has no concept 7"):
        each(factors=str(strange))


def test_it_is_told_before_a_model_is_loaded(steering: Path, tmp_path: Path) -> None:
    for name in ("hf-steered", "hf-steered+speculative"):
        with pytest.raises(HarnessError, match="nowhere cannot be read"):
            compose(name)(
                "no/such-model", steering=str(steering), method="diffmean", concept="each",
                factors=str(tmp_path / "nowhere"),
            )  # fmt: skip


def test_what_results_say(
    plan: Plan, each: Callable[..., Plan], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "run", plan.edit, RATINGS)
    own, same = each(factors=str(run)), each(factor=0.4)
    assert by_default(plan) == ""
    assert by_default(same) == ", each concept × 0.4"
    assert by_default(own) == ", each concept × its own factor"
    assert by_default(each(intervention="null_out")) == ", each concept"
    assert arguments(same)["factor"] == 0.4
    other = replace(own, each=(*own.each[:2], replace(own.each[2], factor=0.4)))
    assert arguments(own)["factor"] != arguments(other)["factor"]
    turns = InTurn()
    for number in range(5):
        for task in ("arc",) if number > 1 else ("arc", "tiny"):
            turns.take(row(number, task=task), own.each[number % 3])
    with caplog.at_level(logging.WARNING):
        told = turns.told(own, alone=True)["each"]
    assert (told["concepts"], told["factors"]) == ([0, 1, 2], [1.2, 0.4, 3.0])
    assert told["rows"] == {
        "arc": {"rows": 5, "concepts": 3, "fewest": 1, "most": 2},
        "tiny": {"rows": 2, "concepts": 2, "fewest": 0, "most": 1},
    }
    assert caplog.messages == [
        "tiny: concept=each had 2 rows for 3 concepts: its figures are of 2 of them"
    ]
    assert "rows" not in turns.told(own, alone=False)["each"]
