"""Distillation losses from hidden states: in chunks of tokens, against plain autograd and peers.

    python benchmarks/distillation_loss.py [--objectives taid fkl …] [--gpu] [--peers FOLDER]

Measured is one loss with its gradients of hidden states and head, the teacher's logits included,
from hidden states of student and teacher:

    full     float32 logits of all tokens through the objective and autograd
    chunked  harness_taid.network.chunked.chunked_loss
    trl      GKDTrainer.generalized_jsd_loss on full logits (js only)
    liger    LigerFusedLinearJSDLoss, not compiled (js only)

Memory: the peak above what stood before the loss, each way in a fresh process; on a CPU that of the
resident set, after a small loss for warming up, with every tensor in pages of its own. Time, on a
CPU that of the process with one thread: the ways take turns in one process, and each turn gives a
ratio; printed is the median. The losses and the gradients of all ways are compared.

The claims, for each objective: memory at most 1/8 of full, time at most 1.2 of full, loss equal to
1e-6, gradients to 1e-5 (at logits of some ±15, float32 rounds the logits themselves to 1e-6).

Sizes: 4,096 tokens, hidden 512, vocabulary 32,000, float32; with --gpu 8,192, 4,096, 128,256,
bfloat16 weights. --peers is a folder with trl and liger-kernel, made by
``pip install --target FOLDER --no-deps trl liger-kernel``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from harness_taid.network.chunked import HiddenTeacher, chunked_loss, full_loss
from harness_taid.network.head import Head
from harness_taid.objectives import NAMES, build
from torch import Tensor

MEMORY, TIME, LOSS, GRADIENT = 1 / 8, 1.2, 1e-6, 1e-5
PEERS = ("trl", "liger")
SPREAD = 4.0  # standard deviation of the logits: some thirty tokens hold half of the mass


class Inputs:
    """Hidden states and heads of a student and a teacher that agree in part."""

    def __init__(self, tokens: int, hidden: int, vocabulary: int, *, gpu: bool) -> None:
        device, dtype = ("cuda", torch.bfloat16) if gpu else ("cpu", torch.float32)
        random = torch.Generator(device).manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random, device=device, dtype=dtype)

        scale = SPREAD / hidden**0.5
        self.teacher_hidden = normal(tokens, hidden)
        self.teacher_weight = normal(vocabulary, hidden) * scale
        self.hidden = (0.9 * self.teacher_hidden + 0.4 * normal(tokens, hidden)).requires_grad_()
        self.weight = (
            0.9 * self.teacher_weight + 0.4 * scale * normal(vocabulary, hidden)
        ).detach()
        self.weight.requires_grad_()
        self.labels = torch.randint(vocabulary, (tokens,), generator=random, device=device)
        self.weights = torch.rand(tokens, 2, generator=random, device=device)
        self.head = Head(self.weight, vocabulary)
        self.teacher = HiddenTeacher(self.teacher_hidden, Head(self.teacher_weight, vocabulary))


def loss_of(way: str, objective: str, inputs: Inputs) -> Callable[[], Tensor]:
    """A loss, ready to be computed.

    Raises:
        ImportError: The peer is not installed.
    """
    chosen = build(objective, total_steps=1000)
    tokens = len(inputs.hidden)
    if way == "trl":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from trl.experimental.gkd import GKDTrainer

        return lambda: GKDTrainer.generalized_jsd_loss(
            inputs.head.logits(inputs.hidden).unsqueeze(0),
            inputs.teacher.rows(0, tokens).unsqueeze(0),
            labels=inputs.labels.unsqueeze(0),
            beta=chosen.beta,
        )
    if way == "liger":
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        fused = LigerFusedLinearJSDLoss(
            weight_hard_loss=0.0, weight_soft_loss=1.0, beta=chosen.beta, compiled=False
        )
        heads = inputs.weight, inputs.teacher_hidden, inputs.teacher_weight
        return lambda: fused(inputs.hidden, *heads, inputs.labels)
    if way == "full":
        return lambda: (
            full_loss(
                chosen,
                inputs.head.logits(inputs.hidden),
                inputs.teacher.rows(0, tokens) if chosen.needs_teacher else None,
                inputs.labels,
                normaliser=tokens,
                weights=inputs.weights,
            ).value
        )
    return lambda: (
        chunked_loss(
            chosen,
            inputs.hidden,
            inputs.head,
            inputs.teacher if chosen.needs_teacher else None,
            inputs.labels,
            normaliser=tokens,
            weights=inputs.weights,
        ).value
    )


def run(loss: Callable[[], Tensor], inputs: Inputs) -> tuple[float, float]:
    """Loss and gradients: the loss and the seconds."""
    gpu = inputs.hidden.is_cuda
    clock = time.perf_counter if gpu else time.process_time
    inputs.hidden.grad = inputs.weight.grad = None
    gc.collect()
    start = clock()
    value = loss()
    value.backward()
    if gpu:
        torch.cuda.synchronize()
    return float(value.detach()), clock() - start


def resident(name: str) -> int:
    """A line of the process's status (bytes)."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def peak_of(way: str, objective: str, sizes: list[int], *, gpu: bool) -> int:
    """How far memory rises above where it stood (bytes)."""
    small = Inputs(64, 64, 2048, gpu=gpu)
    run(loss_of(way, objective, small), small)
    inputs = Inputs(*sizes, gpu=gpu)
    loss = loss_of(way, objective, inputs)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, inputs)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = resident("VmRSS")
    run(loss, inputs)
    return resident("VmHWM") - before


def apart(way: str, objective: str, options: argparse.Namespace) -> int:
    """``peak_of`` in a fresh process."""
    command = [sys.executable, __file__, "--measure", way, objective]
    command += ["--sizes", *map(str, options.sizes), *(["--gpu"] if options.gpu else [])]
    command += ["--peers", str(options.peers)] if options.peers else []
    surroundings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=surroundings)
    return int(json.loads(done.stdout.splitlines()[-1]))


def apartness(gradients: list[Tensor], others: list[Tensor]) -> float:
    """The relative difference of two ways' gradients, the larger of hidden states' and head's."""
    pairs = zip(gradients, others, strict=True)
    return max(float((a - b).float().norm() / a.float().norm()) for a, b in pairs)


def ways_of(objective: str, inputs: Inputs) -> dict[str, Callable[[], Tensor]]:
    """The ways there are for an objective."""
    losses = {way: loss_of(way, objective, inputs) for way in ("full", "chunked")}
    for peer in PEERS if objective == "js" else ():
        try:
            losses[peer] = loss_of(peer, objective, inputs)
        except ImportError as cause:
            print(f"{objective:12}{peer:9}not installed ({cause})")
    return losses


def compare(objective: str, inputs: Inputs, options: argparse.Namespace) -> bool:
    """Print an objective's table; tells whether the claims hold."""
    losses = ways_of(objective, inputs)
    peaks = {way: apart(way, objective, options) for way in losses}
    values: dict[str, float] = {}
    gaps: dict[str, float] = {}
    seconds: dict[str, list[float]] = {way: [] for way in losses}
    full: list[Tensor] = []
    for turn in range(options.pairs):
        for way in list(losses)[:: 1 if turn % 2 == 0 else -1]:
            values[way], took = run(losses[way], inputs)
            seconds[way].append(took)
            if turn == 0:
                found = [inputs.hidden.grad, inputs.weight.grad]
                full = full or found
                gaps[way] = apartness(full, found)
    paces = {
        way: statistics.median(a / b for a, b in zip(times, seconds["full"], strict=True))
        for way, times in seconds.items()
    }
    for way in losses:
        print(
            f"{objective:12}{way:9}"
            f"{peaks[way] / 2**20:8.0f} MiB {peaks[way] / peaks['full']:7.3f} of full"
            f"{statistics.median(seconds[way]):9.2f} s {paces[way]:6.2f} of full"
            f"   loss {values[way]:.6f}, gradients within {gaps[way]:.0e}",
            flush=True,
        )
    close = abs(values["chunked"] / values["full"] - 1) <= LOSS and gaps["chunked"] <= GRADIENT
    small = peaks["chunked"] <= MEMORY * peaks["full"]
    return small and paces["chunked"] <= TIME and (close or options.gpu)


def main() -> int:
    """Measure and print; exit status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objectives", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--sizes", nargs=3, type=int, metavar=("TOKENS", "HIDDEN", "VOCABULARY"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--peers", type=Path, help="a folder with trl and liger-kernel")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu: there is none")
    torch.set_num_threads(1)
    if options.peers:
        sys.path.insert(0, str(options.peers))
    options.sizes = options.sizes or ([8192, 4096, 128_256] if options.gpu else [4096, 512, 32_000])
    if options.measure:
        print(peak_of(*options.measure, options.sizes, gpu=options.gpu))
        return 0
    tokens, hidden, vocabulary = options.sizes
    where = torch.cuda.get_device_name() if options.gpu else "one thread"
    print(f"{tokens:,} tokens, hidden {hidden:,}, vocabulary {vocabulary:,}; {where}", flush=True)
    inputs = Inputs(*options.sizes, gpu=options.gpu)
    held = [compare(objective, inputs, options) for objective in options.objectives]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
