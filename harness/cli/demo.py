"""``harness demo``: a study from start to end, on the testbed's tiny models or a pretrained one."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import shown

if TYPE_CHECKING:
    from harness.studies.closing import Closed
    from harness.studies.planning.plan import Plan

REAL = "testbed:smollm2"
"""The pretrained model, which comes as a package."""
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
    *,
    real: Annotated[
        bool, typer.Option("--real", help="On SmolLM2-135M instead of the testbed's tiny models.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for everything that is written; default: demo, or real.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train, steer, speed up, distil, fact-check and compare: a study to copy.

    Needs no hub and no GPU. --real needs make real, which installs it.

    Example: harness demo --out demo
    """
    from harness.artefacts.writing import check_writable, write_text
    from harness.cli import study_screen as screen
    from harness.cli.run import carry_out
    from harness.studies.executing import LocalExecutor
    from harness.studies.planning.make import make_plan
    from harness.studies.reading.file import read_study
    from harness.studies.running import at_work
    from harness.testbed import resolve

    os.environ |= SETTINGS
    name = "real" if real else "demo"
    out = out or Path(name)
    if real:
        resolve(REAL)
    check_writable(out)
    tree = context.find_root().command

    def show(plan: Plan, closed: Closed) -> None:
        cells = {cell.name: cell for cell in plan.cells}
        folders = [str(cells[f"{run}/steer"].folder) for run in SHOWN]
        if all(cells[f"{run}/steer"].done for run in SHOWN):
            words = ["axbench", "show", *folders, "--concepts", "2", "--short"]
            tree.main(words, standalone_mode=False)
        screen.show_results(plan, closed, differences=False)

    place = out / "study.yaml"
    with at_work(out):
        text = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        write_text(place, text if _multiplies_half() else text.replace("bfloat16", "float32"))
        print(shown(f"harness run {place} --out {out} --processes {PROCESSES}"))
        plan = make_plan(read_study(place, out), tree)
        carry_out(plan, plan.to_do(), LocalExecutor(PROCESSES), show)


def _multiplies_half() -> bool:
    """Whether this processor multiplies bfloat16 itself; others are slower in it than float32."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
