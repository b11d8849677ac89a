"""``harness demo``: the main job from start to end, on the embedded testbed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import HarnessError
from harness.host.edge import Terminated

LAYER = 2
TASKS = "axbench_steer,llm_aggrefact"
SHORT = "max_gen_toks=64"  # 99 % of the testbed's answers are shorter (median 40, longest 84)
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "LMEVAL_LOG_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    # threads that wait spin by default, which costs tiny models dearly on a busy machine
    "OMP_WAIT_POLICY": "PASSIVE",
}


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path(
        "demo"
    ),
) -> None:
    """Train, steer, fact-check and rank on the testbed; every command is shown as it runs."""
    from harness.testbed import model_path

    dictionary, results = out / "dictionary", out / "results"
    steered = f"pretrained=testbed:teacher,steering={dictionary},method="
    harness = [sys.executable, "-m", "harness"]
    _run(
        "1  Train steering vectors: DiffMean, and a random direction to compare with",
        [*harness, "axbench", "train", "--model", "testbed:teacher", "--layer", str(LAYER),
         "--methods", "diffmean,random", "--data", "testbed", "--out", str(dictionary)],
    )  # fmt: skip
    runs = [
        ("2  The teacher, unsteered", "hf", f"pretrained={model_path('teacher')}", TASKS),
        ("3  The teacher, steered by DiffMean", "hf-steered", f"{steered}diffmean", TASKS),
        ("4  The teacher, steered at random", "hf-steered", f"{steered}random", "axbench_steer"),
        ("5  A fact checker", "hf-fact-checker", "pretrained=testbed:checker", "llm_aggrefact"),
        ("6  A random scorer", "dummy", "", "llm_aggrefact"),
    ]
    for title, model, arguments, tasks in runs:
        _run(
            title,
            [sys.executable, "-m", "lm_eval", "run", "--model", model,
             *(["--model_args", arguments] if arguments else []),
             "--tasks", tasks, "--metadata", "data=testbed", "--batch_size", "64",
             *(["--gen_kwargs", SHORT] if "axbench_steer" in tasks else []),
             "--device", "cpu", "--output_path", str(results)],
        )  # fmt: skip
    _run(
        "7  One leaderboard",
        [*harness, "leaderboard", str(results), "--csv", str(out / "leaderboard.csv"),
         "--wide", str(out / "leaderboard_wide.csv"), "--html", str(out / "leaderboard.html")],
    )  # fmt: skip


def _run(title: str, command: list[str]) -> None:
    from rich.console import Console

    console = Console()
    shown = shlex.join(command).replace(f"{sys.executable} -m ", "", 1)
    console.rule(f"[bold]{title}", align="left")
    console.print(f"$ {shown}\n", style="dim", soft_wrap=True, markup=False, highlight=False)
    started = subprocess.Popen(command, env=os.environ | SETTINGS)  # noqa: S603 -- our own words
    try:
        status = started.wait()
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):  # Ctrl-C a terminal sends to both
            started.terminate()
        started.wait()
        raise
    if status:
        raise HarnessError(f"the demo stopped: `{shown}` ended with status {status}; see above")
