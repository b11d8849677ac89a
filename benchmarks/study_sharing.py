"""A study by ``harness run``, and the same commands typed one by one.

    python benchmarks/study_sharing.py [STUDY.yaml] [--processes 2]

By default it is the study of ``make demo``. It is run in an empty folder; then every command that
``--dry-run`` prints is run as it stands, each by a new Python in an empty folder of its own. Prints
the seconds of both, wall and CPU, their ratio, in how many cells the values in the results are
equal, and how far the others are off: several processes have fewer threads each, which changes last
bits. The exit status is 1 if any value is off by more than 1e-6 of itself.

Of what is saved, most is Python's start with its imports (torch, transformers, lm-eval) and the
reading of lm-eval's 14,000 task files; the loading itself is short for the testbed and grows with
the model. Several processes save wall time alone: compare CPU, or give ``--processes 1``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.cli.app import build
from harness.studies.planning.make import make_plan
from harness.studies.reading.file import read_study
from harness.studies.units import Unit

_CLOSE = 1e-6
DEMO = str(files("harness.cli").joinpath("demo.yaml"))


def timed(what: str, words: Sequence[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command; prints them, and its output if it fails."""
    folder.mkdir(parents=True)
    began, before = time.monotonic(), _cpu()
    command = [sys.executable, "-m", *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{what} failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    wall, cpu = time.monotonic() - began, _cpu() - before
    print(f"{what:32} {wall:7.1f} s wall {cpu:7.1f} s CPU", flush=True)
    return wall, cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_hand(unit: Unit, out: Path) -> list[str]:
    """A unit's own command, with another place to write to."""
    words = list(unit.words)
    if "--out" in words:
        words[words.index("--out") + 1] = str(out)
        return words
    return [*words, "--output_path", str(out)]


def values(folder: Path) -> dict[str, Any]:
    """The values in a results file, without how fast it was."""
    (results,) = folder.rglob("results_*.json")
    found = json.loads(results.read_text())["results"]
    return {
        f"{task}.{name}": value
        for task, entry in found.items()
        for name, value in entry.items()
        if not name.startswith("pairs_per_second")
    }


def off(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest relative difference; infinite where what is no number differs."""
    if one.keys() != other.keys():
        return math.inf
    largest = 0.0
    for name, value in one.items():
        if value != other[name]:
            if not isinstance(value, float) or not isinstance(other[name], float):
                return math.inf
            largest = max(largest, abs(value - other[name]) / abs(value))
    return largest


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", nargs="?", type=Path, default=Path(DEMO))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE"}
    work = Path(tempfile.mkdtemp())
    out, study = work / "study", given.study.absolute()
    words = ["harness", "run", str(study), "--out", str(out), "--processes", str(given.processes)]
    wall, cpu = timed(f"harness run, {given.processes} processes", words, work / "at")
    plan = make_plan(read_study(study, out), build())
    apart = [
        timed(unit.name, by_hand(unit, work / "hand" / str(number) / "out"),
              work / "hand" / str(number))
        for number, unit in enumerate(plan.units)
    ]  # fmt: skip
    sums = [sum(one[k] for one in apart) for k in (0, 1)]
    print(f"{'one by one':32} {sums[0]:7.1f} s wall {sums[1]:7.1f} s CPU")
    print(f"{'ratio':32} {sums[0] / wall:7.2f}        {sums[1] / cpu:7.2f}")
    found = [
        off(values(work / "hand" / str(number) / "out"), values(unit.folder))
        for number, unit in enumerate(plan.units)
        if unit in plan.cells
    ]
    print(f"equal values in {found.count(0)} of {len(found)} cells; at most {max(found):.1g} off")
    sys.exit(max(found) > _CLOSE)


if __name__ == "__main__":
    main()
