"""A whole step of distillation, time and memory: ``harness taid distill`` against TRL's trainers.

    pip install 'paperharness[peers-trl]'
    python benchmarks/distillation_trl.py [--data FILE] [--dtype bfloat16] [--turns 2]

The teacher is SmolLM2-135M, the student every second of its blocks; all get the same token ids, in
one batch of ``--batch-size`` exchanges in passes of ``--device-batch-size``, for ``--steps`` steps
of AdamW with a cosine. The loss is the generalised Jensen-Shannon divergence, β 0.5.

    ours           harness_taid.training.distill.distill, from options to finished folder
    gkd            trl.experimental.gkd.GKDTrainer, λ = 0, so that it trains on the data
    distillation   trl.DistillationTrainer, which sums its loss in tiles; it trains on what the
                   student writes, here on the data's responses instead (writing is not counted)

A turn runs each way in a process of its own; the ways take turns. Time is that of a whole step,
from the end of one to the end of the next, in processor time of one thread, the first left out;
memory the highest resident set of all steps above what stood before the first, and the whole
process's. Losses are compared step by step: they stay alike only as long as gradients and
optimisers do.

All keep weights in float32; with bfloat16 they compute under autocast, with a bfloat16 teacher.
TRL's default of computing activations twice (gradient checkpointing) is off: it saves memory for a
third more time, and there is the same for ours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness_taid.data.exchanges import Encoder, Item, Limits
from harness_taid.data.sources import Source
from harness_taid.network.pruning import pruned
from harness_taid.training import distill
from harness_taid.training.loop import Loop
from harness_taid.training.options import Options

from harness.models.checkpoints import open_causal
from harness.testbed import resolve

WAYS = ("ours", "gkd", "distillation")
BETA, SEED, RATE = 0.5, 0, 1e-4
LOSS = {"float32": 1e-4, "bfloat16": 2e-2}
"""How far losses may lie apart, relatively; in bfloat16 each way rounds other products."""


class Watch:
    """The steps' seconds and losses, and the memory that they took.

    Attributes:
        seconds: Of each step.
        losses: Of each step.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._last = self._stood = self._peak = 0.0

    def begin(self) -> None:
        """Before the first step."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        self._stood = resident("VmRSS")
        self._last = time.process_time()

    def step(self, loss: float) -> None:
        """After a step."""
        now = time.process_time()
        self.seconds.append(now - self._last)
        self.losses.append(loss)
        self._peak = resident("VmHWM")
        self._last = time.process_time()

    def told(self) -> dict[str, Any]:
        """What the process that measures prints."""
        own = {"rise": self._peak - self._stood, "peak": self._peak}
        return {"seconds": self.seconds, "losses": self.losses} | own


def resident(name: str) -> float:
    """A line of the process's status (MiB)."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def exchanges(options: argparse.Namespace, tokenizer: Any) -> list[Item]:
    """The batch."""
    limits = Limits(total=options.max_length, prompt=options.max_length - 1)
    rows = Source.of(options.data).rows(options.batch_size)
    encoder = Encoder(tokenizer, tokenizer.chat_template or "", limits)
    return encoder.encode(rows, options.data).items


def with_ours(options: argparse.Namespace, watch: Watch) -> None:
    """The steps through the project's trainer."""
    run, step = Loop.run, Loop._step

    def begun(loop: Loop) -> Any:
        watch.begin()
        return run(loop)

    def stepped(loop: Loop, number: int) -> dict[str, Any]:
        line = step(loop, number)
        watch.step(line["loss"])
        return line

    Loop.run, Loop._step = begun, stepped  # type: ignore[method-assign]
    length = options.max_length
    distill.distill(
        Options(
            out=options.work / "ours",
            teacher=options.teacher,
            student=str(options.work / "student"),
            data=options.data,
            rows=options.batch_size,
            limits=Limits(total=length, prompt=length - 1),
            objective="js",
            settings={"beta": BETA},
            steps=options.steps,
            rate=RATE,
            batch_size=options.batch_size,
            device_batch_size=options.device_batch_size,
            dev_rows=0,
            dtype=options.dtype,
            save_seconds=1e9,
            device="cpu",
            seed=SEED,
        )
    )


def with_trl(way: str, options: argparse.Namespace, watch: Watch) -> None:
    """The steps through one of TRL's trainers."""
    from datasets import Dataset
    from transformers import TrainerCallback

    half = options.dtype == "bfloat16"
    teacher, tokenizer = open_causal("teacher", options.teacher, dtype=options.dtype)
    student, _ = open_causal("student", str(options.work / "student"), dtype="float32")
    student.requires_grad_(True)
    items = exchanges(options, tokenizer)

    class Steps(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            watch.begin()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                watch.step(logs["loss"])

    settings = {
        "output_dir": str(options.work / way),
        "max_steps": options.steps,
        "per_device_train_batch_size": options.device_batch_size,
        "gradient_accumulation_steps": len(items) // options.device_batch_size,
        "learning_rate": RATE,
        "weight_decay": 0.01,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "gradient_checkpointing": False,
        "bf16": half,
        "use_cpu": True,
        "beta": BETA,
        "temperature": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": SEED,
    }
    rows = [
        {
            "prompt": str(place),
            "input_ids": item.ids.tolist(),
            "completion_mask": [0] * item.prompt + [1] * (len(item.ids) - item.prompt),
        }
        for place, item in enumerate(items)
    ]
    trainer = TRAINERS[way](settings, items)(
        student,
        teacher_model=teacher,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Steps()],
    )
    trainer.train()


def gkd(settings: dict[str, Any], items: list[Item]) -> Callable[..., Any]:
    """TRL's trainer of Agarwal et al. 2024, on the data alone."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    longest = max(len(item.ids) for item in items)
    config = GKDConfig(**settings, lmbda=0.0, max_length=longest)
    return lambda *args, **kwargs: GKDTrainer(*args, args=config, **kwargs)


def distillation(settings: dict[str, Any], items: list[Item]) -> Callable[..., Any]:
    """TRL's newer trainer, whose student's answers are the data's responses."""
    from trl import DistillationConfig, DistillationTrainer

    class OnTheData(DistillationTrainer):  # type: ignore[misc]
        def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
            chosen = [items[int(prompt)] for prompt in prompts]
            asked = [item.ids[: item.prompt].tolist() for item in chosen]
            return asked, [item.ids[item.prompt :].tolist() for item in chosen], None, None, []

    config = DistillationConfig(**settings)
    return lambda *args, **kwargs: OnTheData(*args, args=config, **kwargs)


TRAINERS = {"gkd": gkd, "distillation": distillation}


def measure(way: str, options: argparse.Namespace) -> None:
    """Run a way in this process and print what it took, as a line of JSON."""
    watch = Watch()
    if way == "ours":
        with_ours(options, watch)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with_trl(way, options, watch)
    print(json.dumps(watch.told()))


def apart(way: str, work: Path) -> dict[str, Any]:
    """``measure`` in a fresh process; what was made there before is taken away."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        (Path(folder) / "student").symlink_to(work / "student")
        command = [sys.executable, __file__, *sys.argv[1:], "--measure", way, "--work", folder]
        surroundings = os.environ | {"TQDM_DISABLE": "1"}
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=surroundings
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(found: dict[str, list[dict[str, Any]]], tokens: int, dtype: str) -> bool:
    """Print a line a way; whether ours is no slower, no larger, and all losses agree."""
    ours = found["ours"]
    held = True
    for way, turns in found.items():
        pace = statistics.median(tokens / t for turn in turns for t in turn["seconds"][1:])
        ratio = statistics.median(
            statistics.median(theirs["seconds"][1:]) / statistics.median(own["seconds"][1:])
            for theirs, own in zip(turns, ours, strict=True)
        )
        rise, peak = (statistics.median(turn[key] for turn in turns) for key in ("rise", "peak"))
        gap = max(
            abs(one / other - 1)
            for turn in turns
            for one, other in zip(turn["losses"], ours[0]["losses"], strict=True)
        )
        print(
            f"{way:13}{pace:7.0f} tokens/s   {ratio:5.2f} × our time   {rise:6.0f} MiB a step, "
            f"{peak:6.0f} in all   losses {turns[0]['losses'][0]:.5f} … "
            f"{turns[0]['losses'][-1]:.5f}, within {gap:.0e} of ours"
        )
        own = statistics.median(turn["rise"] for turn in ours)
        held &= way == "ours" or (ratio >= 1 and own <= rise and gap <= LOSS[dtype])
    return held


def main() -> int:
    """Measure and print; exit status 1 if ours is slower or larger, or losses differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--teacher", default="testbed:smollm2")
    parser.add_argument("--student", default="layers:0-28/2")
    parser.add_argument("--data", default="testbed", help="rows as harness taid distill reads them")
    parser.add_argument("--dtype", choices=LOSS, default="bfloat16")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device-batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        measure(options.measure, options)
        return 0
    try:
        versions = {name: importlib.metadata.version(name) for name in ("trl", "transformers")}
    except importlib.metadata.PackageNotFoundError:
        print("TRL is not installed, nothing is compared: pip install 'paperharness[peers-trl]'")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        student, tokenizer = pruned(options.student, resolve(options.teacher), "main")
        student.save_pretrained(work / "student")
        tokenizer.save_pretrained(work / "student")
        items = exchanges(options, tokenizer)
        if len(items) % options.device_batch_size:
            parser.error(f"{len(items)} exchanges are no whole passes of that many")
        tokens = sum(len(item.ids) for item in items)
        print(
            f"trl {versions['trl']}, transformers {versions['transformers']}, torch "
            f"{torch.__version__}; {options.dtype}, one thread; {len(items)} exchanges, {tokens:,} "
            f"tokens a step; teacher {options.teacher}, student {options.student} "
            f"({student.num_parameters():,} parameters)",
            flush=True,
        )
        del student
        ways = ["ours", *(way for way in options.ways if way != "ours")]
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for turn in range(options.turns):
            for way in ways[:: 1 if turn % 2 == 0 else -1]:
                found[way].append(apart(way, work))
                took = " ".join(f"{t:.2f}" for t in found[way][-1]["seconds"])
                print(f"turn {turn + 1}, {way}: {took} s", flush=True)
    return 0 if report(found, tokens, options.dtype) else 1


if __name__ == "__main__":
    sys.exit(main())
