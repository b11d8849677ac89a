"""The same cells by commands of their own and in one process that loads their model once.

    python benchmarks/study_sharing.py [--limit 8] [--work FOLDER] [--only NAME …]

Cells of the testbed's teacher: plain, steered by two methods of one dictionary, with a drafter, and
steered with a drafter, each on one task. They run one by one as ``lm_eval run --config CELL.yaml``,
each a new Python, and then by ``LocalExecutor`` with one process. Prints the seconds of each, wall
and CPU, the ratio of both sums, and whether the values of all results files are equal; the exit
status is 1 if not.

Of what is saved, most is Python's start with its imports (torch, transformers, lm-eval) and the
reading of lm-eval's 14 000 task files; the loading itself is short for the testbed and grows with
the model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from harness.studies.executing import LocalExecutor
from harness.studies.units import Artefact, Cell

TEACHER = {"pretrained": "testbed:teacher"}
DRAFTER = {"drafter": "testbed:student"}


def cells(work: Path, vectors: Artefact, limit: int) -> list[Cell]:
    """The cells, with their configurations written."""
    steering = {**TEACHER, "steering": str(vectors.folder)}
    runs: dict[str, tuple[str, dict[str, Any]]] = {
        "plain": ("hf", TEACHER),
        "diffmean": ("hf-steered", {**steering, "method": "diffmean"}),
        "random": ("hf-steered", {**steering, "method": "random"}),
        "drafted": ("hf-speculative", {**TEACHER, **DRAFTER}),
        "both": ("hf-steered+speculative", {**steering, **DRAFTER, "method": "diffmean"}),
    }
    return [cell(work, name, *run, limit=limit) for name, run in runs.items()]


def cell(work: Path, name: str, model: str, arguments: dict[str, Any], *, limit: int) -> Cell:
    """One cell."""
    config = {
        "model": model, "model_args": arguments, "tasks": ["axbench_steer"], "limit": limit,
        "metadata": {"data": "testbed"}, "gen_kwargs": {"max_gen_toks": 32}, "batch_size": 8,
        "device": "cpu", "log_samples": True,
    }  # fmt: skip
    path = work / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return Cell(
        name, name, work / "cells" / name, ("lm_eval", "run", "--config", str(path)), (),
        work / f"{name}.log", config=config, sharing="teacher", run=name, task="axbench_steer",
    )  # fmt: skip


def timed(what: str, do: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of something, children's included; prints them."""
    began, before = time.monotonic(), _cpu()
    do()
    wall, cpu = time.monotonic() - began, _cpu() - before
    print(f"{what:32} {wall:7.1f} s wall {cpu:7.1f} s CPU", flush=True)
    return wall, cpu


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def alone(one: Cell, out: Path) -> None:
    """A cell's own command, in a Python of its own."""
    words = [sys.executable, "-m", *one.words, "--output_path", str(out)]
    with (out.parent / f"{out.name}.log").open("wb") as log:
        subprocess.run(words, check=True, stdout=log, stderr=log)


def together(units: list[Any]) -> None:
    """Units in one process."""
    for outcome in LocalExecutor().run(units, keep_going=False):
        print(f"  {outcome.unit:30} {outcome.seconds:7.1f} s", flush=True)
        if outcome.error is not None:
            sys.exit(f"{outcome.unit} failed: {outcome.error}")


def values(folder: Path) -> Any:
    """The values in a results file."""
    (results,) = folder.rglob("results_*.json")
    return json.loads(results.read_text())["results"]


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="+")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    work = given.work or Path(tempfile.mkdtemp())
    shutil.rmtree(work, ignore_errors=True)
    (work / "alone").mkdir(parents=True)
    out = work / "vectors"
    words = "harness axbench train --model testbed:teacher --layer 2 --methods diffmean,random"
    vectors = Artefact(
        "vectors", "vectors", out, (*words.split(), "--data", "testbed", "--out", str(out)), (),
        work / "vectors.log",
    )  # fmt: skip
    together([vectors])
    units = [
        one for one in cells(work, vectors, given.limit) if one.name in (given.only or [one.name])
    ]
    apart = [timed(one.name, lambda c=one: alone(c, work / "alone" / c.name)) for one in units]
    wall, cpu = timed("all in one process", lambda: together(units))
    sums = [sum(one[k] for one in apart) for k in (0, 1)]
    print(f"{'one by one':32} {sums[0]:7.1f} s wall {sums[1]:7.1f} s CPU")
    print(f"{'ratio':32} {sums[0] / wall:7.2f}        {sums[1] / cpu:7.2f}")
    equal = [values(work / "alone" / one.name) == values(one.folder) for one in units]
    print(f"equal values in {sum(equal)} of {len(equal)} cells")
    sys.exit(not all(equal))


if __name__ == "__main__":
    main()
