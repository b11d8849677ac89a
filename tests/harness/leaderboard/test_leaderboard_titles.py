"""Runs are called by model and method, and told apart by what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.leaderboard import read_results
from harness.leaderboard.rows import Run
from harness.leaderboard.titles import apart, title, titles


def run(folder: Path, number: int, **config: Any) -> Run:
    saved = {
        "results": {"quiz": {"alias": "quiz", "acc,none": 0.5}},
        "configs": {"quiz": {"task": "quiz", "metadata": {"version": 1.0}}},
        "versions": {"quiz": 1.0},
        "n-shot": {"quiz": 0},
        "higher_is_better": {"quiz": {"acc": True}},
        "config": {"model": "hf-steered", "model_args": {"pretrained": "org/model"}, **config},
        "date": 1_760_000_000.0 + number,
    }
    file = folder / f"results_2026-01-02T03-04-0{number}.json"
    file.write_text(json.dumps(saved))
    (found,) = read_results([file]).runs
    return found


def steered(folder: Path, number: int, **arguments: Any) -> Run:
    return run(folder, number, method="diffmean", method_args=arguments)


def test_what_a_model_says_of_its_parts_is_its_method(tmp_path: Path) -> None:
    told = run(tmp_path, 0, method="diffmean", method_label="steered (diffmean, concept 0 × 0.6)")
    assert title(told) == "org/model steered (diffmean, concept 0 × 0.6)"
    assert title(steered(tmp_path, 1)) == "org/model steered (diffmean)"
    assert title(run(tmp_path, 2, method_label="steered (nothing)")) == "org/model"


def test_alike_runs_are_told_apart_by_the_methods_settings_that_differ(tmp_path: Path) -> None:
    runs = [
        steered(tmp_path, 0, layer=2, factor=0.6, max_act=121.55256652832031),
        steered(tmp_path, 1, layer=2, factor=1.2, max_act=121.55256652832031),
        run(tmp_path, 2),
    ]
    assert list(titles(runs).values()) == [
        "org/model steered (diffmean) · factor 0.6",
        "org/model steered (diffmean) · factor 1.2",
        "org/model",
    ]


def test_a_parts_settings_stand_without_its_name(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, k, method="capped + steered(diffmean)", method_args={"capped.cap": cap})
        for k, cap in enumerate((60.0, 200.0))
    ]
    assert apart([(title(one), one) for one in runs]) == ["cap 60", "cap 200"]


def test_where_the_method_is_the_same_what_else_is_known_tells(tmp_path: Path) -> None:
    runs = [
        steered(tmp_path, 0),
        run(tmp_path, 1, method="diffmean", method_args={}, artefact_hash="ab" * 32),
        run(tmp_path, 2, method="diffmean", method_args={}, artefact_hash="cd" * 32),
    ]
    assert apart([(title(one), one) for one in runs]) == [
        "",
        "artefact abababab",
        "artefact cdcdcdcd",
    ]


def test_repeats_of_a_run_are_one(tmp_path: Path) -> None:
    runs = [steered(tmp_path, k, factor=1.0) for k in range(2)]
    assert {*titles(runs).values()} == {"org/model steered (diffmean)"}
