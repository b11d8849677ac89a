"""The operator that steers inside vLLM, alone: its Triton kernel against torch, on an accelerator.

    python benchmarks/vllm_steering_operator.py [--width 4096] [--tokens 1 8 64 256 2048]
                                                [--concepts 500] [--repeats 50]

Each line is a step of as many tokens, a request each with a concept and a factor of its own, in
bfloat16: microseconds of torch's edit (``Tables.apply``) and of the kernel, captured in a CUDA
graph as in vLLM's engine, their ratio, and whether both wrote the same; once with every token left
alone (what an idle engine pays), once added to, once clamped. A machine without an accelerator says
that nothing was measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from harness_axbench.dictionary.directions import Directions
from harness_axbench.engine.edits import Edit, message_of
from harness_axbench.engine.tables import Tables

KINDS = ("idle", "add", "clamp")


def tables_of(tokens: int, kind: str, options: argparse.Namespace) -> Tables:
    """A step of one token a request."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(options.concepts, options.width, generator=generator)
    made = Tables(
        options.concepts,
        "linear",
        positions=torch.zeros(tokens, dtype=torch.int64, device="cuda"),
        width=options.width,
        dtype=torch.bfloat16,
        max_requests=tokens,
    )
    made.fill(Directions.of({"weight": weight}, "linear"))
    names = [str(number) for number in range(tokens)]
    edits = [
        () if kind == "idle" else (Edit(k % options.concepts, 0.1 + k, kind, 0, None),)
        for k in range(tokens)
    ]
    for name, own in zip(names, edits, strict=True):
        made.comes(name, SimpleNamespace(extra_args=dict([message_of(own)]) if own else None))
    made.steps(names, np.ones(tokens, dtype=np.int32))
    if not made.idle:
        made._columns = made._gather(edits)  # on an accelerator torch does not edit
    return made


def microseconds(step: Callable[[], None], repeats: int) -> float:
    """Median over replays of a CUDA graph of one step."""
    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    found = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        found.append(1000 * start.elapsed_time(end))
    return statistics.median(found)


def compare(tokens: int, kind: str, options: argparse.Namespace) -> str:
    """One line."""
    from harness_axbench.engine.kernel import apply

    made = tables_of(tokens, kind, options)
    states = torch.randn(2, tokens, options.width, device="cuda", dtype=torch.bfloat16)
    ours, theirs = states[0].clone(), states[0].clone()
    apply(made, ours, states[1])
    made.apply(theirs, states[1])
    equal = bool(torch.allclose(ours, theirs, rtol=2e-2, atol=2e-2))
    by_torch = microseconds(lambda: made.apply(theirs, states[1]), options.repeats)
    by_kernel = microseconds(lambda: apply(made, ours, states[1]), options.repeats)
    times = f"{by_torch:9.1f} {by_kernel:9.1f} {by_torch / by_kernel:7.2f}"
    return f"{tokens:7} {kind:>6} {times}  {equal}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 8, 64, 256, 2048])
    parser.add_argument("--concepts", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no accelerator here: nothing was measured")
    print(f"{'tokens':>7} {'edit':>6} {'torch µs':>9} {'kernel µs':>9} {'ratio':>7}  equal")
    for tokens in options.tokens:
        for kind in KINDS:
            print(compare(tokens, kind, options), flush=True)


if __name__ == "__main__":
    main()
