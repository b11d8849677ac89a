"""``harness demo``: a study from start to end, on the embedded testbed."""

from __future__ import annotations

import os
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import HarnessError, shown

STUDY = "demo.yaml"
PROCESSES = 2
SHOWN = ("plain", "steered-diffmean")
"""Runs whose answers are shown side by side."""
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # threads that wait spin by default, which costs tiny models dearly on a busy machine
    "OMP_WAIT_POLICY": "PASSIVE",
}


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path(
        "demo"
    ),
) -> None:
    """Train, steer, speed up, distil, fact-check and compare on the testbed: a study to copy."""
    from harness.artefacts.writing import check_writable, write_text
    from harness.cli import study_screen as screen
    from harness.studies.closing import close
    from harness.studies.executing import LocalExecutor
    from harness.studies.planning.make import make_plan
    from harness.studies.reading.file import read_study
    from harness.studies.running import at_work, run_plan

    os.environ |= SETTINGS
    check_writable(out)
    tree = context.find_root().command
    place = out / "study.yaml"
    with at_work(out):
        write_text(place, files(__package__).joinpath(STUDY).read_text(encoding="utf-8"))
        print(shown(f"harness run {place} --out {out} --processes {PROCESSES}"))
        plan = make_plan(read_study(place, out), tree)
        units = plan.to_do()
        screen.say_what_is_to_do(plan, units)
        with screen.watching(units, time.time()) as watch:
            ended = run_plan(plan, units, LocalExecutor(PROCESSES), watch=watch)
        closed = close(plan)
    if ended.failed or closed is None:
        screen.show_failures(plan, ended)
        raise HarnessError(f"{len(ended.failed)} of {len(units)} failed")
    cells = {cell.name: cell for cell in plan.cells}
    folders = [str(cells[f"{run}/steer"].folder) for run in SHOWN]
    tree.main(["axbench", "show", *folders, "--concepts", "2", "--short"], standalone_mode=False)
    screen.show_results(plan, closed, differences=False)
