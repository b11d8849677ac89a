"""Damaged and hostile files of a study: one line of what is wrong, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

from mangling import Target, outcome, read_mangled
from written_studies import STEERING, Instant, planned

from harness.cli.app import build
from harness.studies.planning.make import make_plan
from harness.studies.reading.file import read_study
from harness.studies.running import run_plan

MORE = "tradeoff: {gain: axbench_steer, retained: [llm_aggrefact]}\n"


def test_mangled_files_are_read_or_one_line(tmp_path: Path) -> None:
    plan = planned(tmp_path, STEERING + MORE)
    run_plan(plan, plan.to_do(), Instant())
    tree = build()
    target = Target(
        "a study",
        [tmp_path / "study.yaml", tmp_path / "out" / "cells.json"],
        lambda: make_plan(read_study(tmp_path / "study.yaml", tmp_path / "out"), tree),
    )
    assert outcome(target) == "read"
    found = [read_mangled(target, random.Random(seed)) for seed in range(200)]
    assert 5 < found.count("read") < 195
    told = {line for line in found if line != "read"}
    assert all(str(tmp_path) in line for line in told)
    assert outcome(target) == "read"
