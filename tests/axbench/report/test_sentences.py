"""Steered answers beside unsteered ones: the same instruction, at the factor that was chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from harness_axbench.commands import app
from harness_axbench.report import read_runs
from harness_axbench.report.reading import DETECTION
from harness_axbench.report.sentences import beside
from typer.testing import CliRunner

from harness.errors import HarnessError


def run(
    folder: Path, answers: list[tuple[str, float | None, str, int, str]], **config: str
) -> None:
    """A run of rows (instruction, factor, split, concept's rating, answer) of one concept."""
    folder.mkdir()
    metadata = {"data_sha256": "ab" * 32, "judge": {"model": "j"}}
    document = {
        "results": {"axbench_steer": {"overall_score,none": 1.0}},
        "configs": {"axbench_steer": {"metadata": metadata}},
        "n-samples": {"axbench_steer": {"original": len(answers), "effective": len(answers)}},
        "config": {"model": "hf", "model_args": {"pretrained": "org/tiny"}, **config},
        "date": 1.0,
    }
    rows = []
    for instruction, factor, split, rating, answer in answers:
        ratings = {"concept": rating, "relatedness": 2, "fluency": 2}
        item = {"concept_id": 0, "factor": factor, "split": split, **ratings}
        doc = {"concept_id": 0, "concept": "the sea", "instruction": instruction}
        row = {"doc": doc, "resps": [[answer]], "filtered_resps": [answer], "filter": "none"}
        rows.append(row | {"metrics": ["overall_score"], "overall_score": item})
    date = "2026-01-02T10-00-00.000000"
    (folder / f"results_{date}.json").write_text(json.dumps(document))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"samples_axbench_steer_{date}.jsonl").write_text(lines)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run(
        tmp_path / "plain", [("Tell me.", None, "test", 0, "A day."), ("Go.", None, "test", 0, "b")]
    )
    steered = [
        ("Say.", 1.0, "select", 0, "weak"),
        ("Say.", 2.0, "select", 2, "strong"),
        ("Tell me.", 1.0, "test", 2, "The weaker sea."),
        ("Tell me.", 2.0, "test", 1, "The\nsea \x1b[2J."),
    ]
    run(tmp_path / "steered", steered, method="diffmean")
    return tmp_path


def test_the_answer_is_that_at_the_factor_that_was_chosen(runs: Path) -> None:
    (one,) = beside(read_runs([runs]), 2)
    assert (one.concept, one.instruction) == ("the sea", "Tell me.")
    told = {answer.label: (answer.factor, answer.text) for answer in one.answers}
    assert told == {"Unsteered": (None, "A day."), "DiffMean": (2.0, r"The sea \x1b[2J.")}
    assert [answer.score for answer in one.answers if answer.factor] == [1.5]  # ratings 1, 2, 2


def test_the_command_prints_them_and_no_escape_sequence(runs: Path) -> None:
    printed = CliRunner().invoke(app, ["show", str(runs)], catch_exceptions=False)
    assert "The sea" in printed.output and "A day." in printed.output
    assert "\x1b[2J" not in printed.output and "1.50" in printed.output
    short = CliRunner().invoke(app, ["show", str(runs), "--short"], catch_exceptions=False)
    assert "A day." in short.output


def test_runs_without_steering_are_one_line(runs: Path) -> None:
    found = read_runs([runs])
    sections = tuple(replace(section, family=DETECTION) for section in found.sections)
    with pytest.raises(HarnessError, match="no run of axbench_steer is among these"):
        beside(replace(found, sections=sections), 1)
