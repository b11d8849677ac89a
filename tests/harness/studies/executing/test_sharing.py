"""Cells that share a process and a network have the values of runs by themselves, in any order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from small_study import Study, left_over, values

from harness.studies.executing import LocalExecutor
from harness.studies.units import Unit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a busy machine's

TEACHER = {"pretrained": "testbed:teacher"}
SHORT = {"metadata": {"data": "testbed"}, "limit": 3, "batch_size": 2}


def make(study: Study) -> list[Unit]:
    vectors = study.artefact(
        "vectors", "--model", "testbed:teacher", "--layer", "2", methods="diffmean,random"
    )
    steering = {**TEACHER, "steering": str(vectors.folder)}
    draft = {"drafter": "testbed:student"}
    words: dict[str, Any] = {**SHORT, "gen_kwargs": {"max_gen_toks": 12}}
    return [
        vectors,
        study.run("plain", "hf", TEACHER, "axbench_steer", **words),
        study.run("checked", "hf", TEACHER, "llm_aggrefact_wice", **SHORT),
        *(
            study.run(
                method, "hf-steered", {**steering, "method": method}, "axbench_steer", "vectors",
                **words,
            )
            for method in ("diffmean", "random")
        ),
        study.run("drafted", "hf-speculative", {**TEACHER, **draft}, "axbench_steer", **words),
        study.run(
            "both", "hf-steered+speculative", {**steering, **draft, "method": "diffmean"},
            "axbench_steer", "vectors", **words,
        ),
        study.run(
            "distilled", "hf-distilled", {**TEACHER, "teacher": "testbed:student"},
            "taid_fidelity", **words,
        ),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def fresh(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Values of each cell by its own command, in a new process and an empty folder."""
    vectors, *cells = make(study)
    (outcome,) = LocalExecutor().run([vectors], keep_going=True)
    assert outcome.error is None
    forking = Forking(tmp_path_factory.mktemp("output"))
    found = {}
    for cell in cells:
        empty = tmp_path_factory.mktemp(cell.name)
        run = forking.start(*cell.words, "--output_path", "out", cwd=empty)
        assert run.wait() == 0, run.errors[-3000:]
        found[cell.name] = values(empty / "out")
    forking.close()
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_values_are_those_of_runs_by_themselves(
    fresh: dict[str, Any], study: Study, tmp_path: Path, seed: int
) -> None:
    _, *cells = make(study)
    random.Random(seed).shuffle(cells)
    moved = [_in(tmp_path, cell) for cell in cells]
    outcomes = list(LocalExecutor().run(moved, keep_going=True))
    assert [one.error for one in outcomes] == [None] * len(cells)
    for cell in moved:
        assert values(cell.folder) == fresh[cell.name], cell.name
    told = [cell.log.read_text() for cell in moved]
    assert ["the model is loaded already" in log for log in told] == [False] + [True] * 6
    assert left_over(tmp_path) == []


def _in(folder: Path, cell: Any) -> Any:
    from dataclasses import replace

    return replace(
        cell, folder=folder / "cells" / cell.name, log=folder / f"{cell.name}.log", needs=()
    )
