"""A study that a test kills: ``python killed_study.py FOLDER local|ADDRESS``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from small_study import Study

from harness.studies.executing import LocalExecutor, RayExecutor
from harness.studies.units import Executor, Unit

TESTBED = {"metadata": {"data": "testbed"}, "limit": 2, "gen_kwargs": {"max_gen_toks": 8}}


def units(study: Study) -> list[Unit]:
    """An artefact, and cells of two groups."""
    teacher = {"pretrained": "testbed:teacher"}
    return [
        study.artefact("words"),
        study.cell("first", "words"),
        study.cell("second"),
        study.run("plain", "hf", teacher, "axbench_steer", "words", sharing="two", **TESTBED),
        study.run(
            "drafted", "hf-speculative", {**teacher, "drafter": "ngram"}, "axbench_steer",
            sharing="two", **TESTBED,
        ),
    ]  # fmt: skip


def executor(where: str) -> Executor:
    return LocalExecutor() if where == "local" else RayExecutor(where)


def run(folder: Path, where: str) -> list[Any]:
    """Run all; returns the outcomes."""
    return list(executor(where).run(units(Study(folder)), keep_going=True))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
