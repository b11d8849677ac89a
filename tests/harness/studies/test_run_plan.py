"""Doing a plan: only what is missing, the rest after a failure, another judge without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from written_studies import STEERING, Instant, planned

from harness.errors import ArtefactError, HarnessError
from harness.host.edge import said
from harness.studies.running import at_work, failure, run_plan
from harness.studies.units import Outcome, Unit

ALL = 8


def done(folder: Path, text: str = STEERING, failing: Sequence[str] = (), **how: bool) -> list[str]:
    """Run what is missing of a study; the names of what was run."""
    plan = planned(folder, text)
    instant = Instant(failing)
    run_plan(plan, plan.to_do(), instant, **how)
    return instant.ran


def test_a_rerun_does_only_what_is_missing(tmp_path: Path) -> None:
    assert len(done(tmp_path)) == ALL
    assert done(tmp_path) == []
    plan = planned(tmp_path)
    next(c for c in plan.cells if c.name == "plain/llm_aggrefact").folder.rmdir()
    assert done(tmp_path) == ["plain/llm_aggrefact"]


def test_an_artefact_that_only_finished_cells_need_is_not_made_again(tmp_path: Path) -> None:
    done(tmp_path)
    plan = planned(tmp_path)
    vectors, unused = plan.units[:2]
    vectors.folder.rmdir()
    unused.folder.rmdir()
    assert done(tmp_path) == ["unused"]
    next(c for c in plan.cells if c.name == "steered-random/llm_aggrefact").folder.rmdir()
    assert done(tmp_path) == ["vectors", "steered-random/llm_aggrefact"]


def test_a_changed_argument_reruns_what_depends_on_it(tmp_path: Path) -> None:
    done(tmp_path)
    assert done(tmp_path, STEERING.replace("layer: 2", "layer: 3")) == [
        "vectors",
        *("steered-diffmean/axbench_steer", "steered-diffmean/llm_aggrefact"),
        *("steered-random/axbench_steer", "steered-random/llm_aggrefact"),
    ]
    assert done(tmp_path) == []  # what was done before is still there
    assert done(tmp_path, STEERING.replace("random]}\nt", "random, pca]}\nt")) == [
        *("steered-pca/axbench_steer", "steered-pca/llm_aggrefact"),
    ]


def test_a_failure_is_kept_and_what_needs_it_waits(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    seen: list[Outcome] = []
    ended = run_plan(plan, plan.to_do(), Instant(["vectors"]), watch=seen.append)
    assert [outcome.unit for outcome in ended.failed] == ["vectors"]
    assert len(ended.left) == 4 and all(unit.run.startswith("steered") for unit in ended.left)
    assert list(ended.outcomes) == seen
    vectors = plan.units[0]
    assert failure(vectors).error == "out of memory"
    assert failure(ended.left[0]) is None
    assert len(done(tmp_path)) == 5
    assert failure(vectors) is None and not vectors.log.with_suffix(".failed.json").exists()


def test_nothing_more_is_begun_after_a_failure_if_asked(tmp_path: Path) -> None:
    assert done(tmp_path, failing=["vectors"], keep_going=False) == ["vectors"]


def test_a_secret_that_a_command_said_is_not_kept(tmp_path: Path) -> None:
    plan = planned(tmp_path)

    class Telling(Instant):
        def run(self, units: Sequence[Unit], *, keep_going: bool) -> Iterator[Outcome]:
            yield Outcome(units[0].name, "401 for sk-abcdefghijklmnopqrstuv", 1.0)

    run_plan(plan, plan.to_do(), Telling())
    assert failure(plan.units[0]).error == "401 for (hidden)"


def judged(temperature: float, **more: str) -> str:
    judge = f"judge: {{model: testbed-judge, temperature: {temperature}}}"
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return STEERING.replace("{data: testbed}", f"{{data: testbed, {judge}{rest}}}")


def test_another_judge_judges_what_is_there(tmp_path: Path) -> None:
    done(tmp_path, judged(0))
    earlier = {cell.name: cell.folder for cell in planned(tmp_path, judged(0)).cells}
    plan = planned(tmp_path, judged(1, judge_max_unscored="0.2"))
    units = plan.to_do()
    assert [unit.name for unit in units] == [
        *("plain/axbench_steer", "steered-diffmean/axbench_steer", "steered-random/axbench_steer"),
    ]
    first = units[0]
    assert first.words == (
        *("harness", "score", str(earlier[first.name]), "--judge"),
        json.dumps({"model": "testbed-judge", "temperature": 1}),
        *("--max-unscored", "0.2", "--with-files"),
    )
    assert first.target == "--out" and first.folder != earlier[first.name]
    assert all(unit.needs == () for unit in units)
    plan.units[0].folder.rmdir()  # no model is needed, nor its vectors
    assert len(done(tmp_path, judged(1, judge_max_unscored="0.2"))) == 3
    assert done(tmp_path, judged(1, judge_max_unscored="0.2")) == []


def test_more_or_less_of_what_is_there_is_judged(tmp_path: Path) -> None:
    done(tmp_path, judged(0, judge_scope="score"))
    race = planned(tmp_path, judged(0, judge_scope="race")).to_do()[0]
    assert race.words[-3:] == ("--scope", "race", "--with-files")
    everything = planned(tmp_path, judged(0)).to_do()[0]
    assert everything.words[-3:] == ("--scope", "all", "--with-files")


def test_what_scoring_cannot_say_anew_is_generated_again(tmp_path: Path) -> None:
    done(tmp_path, judged(0))
    for text in (judged(0, judge_strict="reference"), judged(1).replace("layer: 2", "layer: 3")):
        plan = planned(tmp_path, text)
        words = {u.words[0] for u in plan.to_do() if u.name == "steered-random/axbench_steer"}
        assert words == {"lm_eval"}
    none = STEERING.replace("{data: testbed}", "{data: testbed, judge: none}")
    assert {unit.words[0] for unit in planned(tmp_path, none).to_do()} == {"lm_eval"}


@pytest.mark.parametrize(
    "content", ['[{"folder": "../..", "key": "a", "unjudged": "b"}]', "{", "[1]"]
)
def test_a_damaged_list_of_cells_is_one_line(tmp_path: Path, content: str) -> None:
    done(tmp_path)
    (tmp_path / "out" / "cells.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"cells\.json is damaged"):
        planned(tmp_path)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    said = r"another harness run works on .*out; wait for it"
    with at_work(tmp_path / "out"), pytest.raises(HarnessError, match=said):  # noqa: SIM117
        with at_work(tmp_path / "out"):
            pass


def test_an_interruption_says_what_is_kept(tmp_path: Path) -> None:
    plan = planned(tmp_path)

    class Stopped(Instant):
        def run(self, units: Sequence[Unit], *, keep_going: bool) -> Iterator[Outcome]:
            yield from super().run(units[:3], keep_going=keep_going)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        run_plan(plan, plan.to_do(), Stopped())
    assert said(stop.value) == (
        "interrupted; what is done is kept; the same command goes on from there"
    )
    assert len(done(tmp_path)) == ALL - 3
