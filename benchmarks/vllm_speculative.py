"""Tokens per second of vllm-speculative against lm-eval's own vllm, on a pair big enough to matter.

    python benchmarks/vllm_speculative.py [--rows 1 4] [--tokens 48] [--gamma 4] [--repeats 3]
                                          [--hidden 768] [--layers 16] [--target M --drafter D]

Engines run one after another on this machine, in eager mode, with the same settings and prompts:
lm-eval's ``vllm``; ``vllm-speculative`` as vLLM speculates itself, with drafts that are greedy (its
default) and drawn; with ``invariant=true``; that without a drafter; and lm-eval's ``vllm`` once
more, by which the machine's own drift is seen. Each is warmed up; printed are the rates of the
fastest of --repeats runs (what other load on the machine moves least), their ratio to the better of
the two plain engines, what vLLM counted, and theory's ceiling: E / (γ c + 1), with E tokens a pass
of the target as counted and c the drafter's parameters over the target's, without the input
embeddings, of which a pass reads a row. The ceiling takes a pass over γ + 1 tokens at the price of
one, and all that is not a pass for nothing. Without --target the pair is ``structured_pair``: a
Llama of random weights and its own first layer.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")  # the same for all

import torch
from harness_specdecode.couplings.theory import speed_up
from lm_eval.api.instance import Instance
from lm_eval.models.vllm_causallms import VLLM
from structured_pair import parameters, structured_pair

from harness import compose
from harness.errors import HarnessError

SpeculativeVLLM = compose("vllm-speculative")

TEMPERATURES = (0.0, 1.0)
WORDS = ("sea", "sand", "tide", "reef", "old", "house", "garden", "near", "river", "the")


def requests(rows: int, tokens: int, temperature: float) -> list[Any]:
    """Prompts of 16 to 32 words."""
    options = {"until": [], "max_gen_toks": tokens, "ignore_eos": True}
    options |= {"do_sample": temperature > 0, "temperature": temperature}
    made = []
    for row in range(rows):
        prompt = " ".join(WORDS[(3 * k + row * k) % len(WORDS)] for k in range(16 + row % 17))
        made.append(Instance("generate_until", {}, (prompt, options), 0, ("benchmark", row, 1)))
    return made


@contextmanager
def running(made: Any) -> Iterator[Any]:
    """An engine, ended afterwards."""
    try:
        yield made
    finally:
        made.model.llm_engine.engine_core.shutdown()
        del made.model
        gc.collect()


def measured(lm: Any, options: Any) -> dict[tuple[int, float], dict[str, Any]]:
    """Best seconds and what was counted, by rows and temperature."""
    found: dict[tuple[int, float], dict[str, Any]] = {}
    for rows in options.rows:
        for temperature in TEMPERATURES:
            asked = requests(rows, options.tokens, temperature)
            try:
                lm.generate_until(requests(rows, 8, temperature), disable_tqdm=True)
            except HarnessError as refused:
                found[rows, temperature] = {"refused": refused}
                continue
            before = dict(getattr(lm, "_totals", {}))
            spent = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                lm.generate_until(asked, disable_tqdm=True)
                spent.append(time.perf_counter() - start)
            after = dict(getattr(lm, "_totals", {}))
            counted = {k: v - before[k] for k, v in after.items() if isinstance(v, int)}
            found[rows, temperature] = {"rate": rows * options.tokens / min(spent)} | counted
    return found


def line(name: str, found: dict[str, Any], plain: float, gamma: int, cost: float) -> str:
    """One engine's figures."""
    if "refused" in found:
        return f"{name:28} refused: {found['refused']}"
    text = f"{name:28} {found['rate']:10.1f} {found['rate'] / plain:7.2f}"
    if not found.get("drafts"):
        return text
    tokens = 1 + found["accepted"] / found["drafts"]
    accepted = found["accepted"] / found["proposed"]
    return f"{text} {accepted:9.3f} {tokens:12.2f} {speed_up(tokens, gamma, cost):8.2f}"


def compare(target: str, drafter: str, options: Any) -> None:
    """Measure and print."""
    engine: dict[str, Any] = {
        "dtype": options.dtype,
        "enforce_eager": True,
        "max_model_len": 512,
        "max_num_seqs": max(options.rows),
        "enable_prefix_caching": False,  # every repeat computes its prompts
    }
    if not torch.cuda.is_available():
        engine["kv_cache_memory_bytes"] = 2**28
    drafting = {"drafter": drafter, "gamma": options.gamma}
    ways: list[tuple[str, Any]] = [
        ("vllm", lambda: VLLM(target, **engine)),
        ("speculative, greedy drafts", lambda: SpeculativeVLLM(target, **drafting, **engine)),
        (
            "speculative, drawn drafts",
            lambda: SpeculativeVLLM(
                target, draft_sample_method="probabilistic", **drafting, **engine
            ),
        ),
        ("invariant", lambda: SpeculativeVLLM(target, invariant=True, **drafting, **engine)),
        ("invariant, no drafter", lambda: SpeculativeVLLM(target, invariant=True, **engine)),
        ("vllm again", lambda: VLLM(target, **engine)),
    ]
    found = {}
    for name, opened in ways:
        with running(opened()) as lm:
            found[name] = measured(lm, options)
    cost = parameters(drafter) / parameters(target)
    print(
        f"target {parameters(target) / 1e6:.0f} M, drafter {parameters(drafter) / 1e6:.0f} M "
        f"parameters, c = {cost:.3f}, gamma {options.gamma}, {options.tokens} tokens a row"
    )
    for rows in options.rows:
        for temperature in TEMPERATURES:
            cell = rows, temperature
            plain = max(found["vllm"][cell]["rate"], found["vllm again"][cell]["rate"])
            print(f"\n{rows} rows, temperature {temperature:g}")
            print(
                f"{'':28} {'tokens/s':>10} {'ratio':>7} {'accepted':>9} {'tokens/pass':>12} "
                f"{'ceiling':>8}"
            )
            for name, cells in found.items():
                print(line(name, cells[cell], plain, options.gamma, cost))


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--target", help="path; with --drafter in the place of the random pair")
    parser.add_argument("--drafter")
    options = parser.parse_args()
    if options.target:
        compare(options.target, options.drafter, options)
        return
    with tempfile.TemporaryDirectory() as place:
        pair = structured_pair(
            Path(place),
            hidden=options.hidden,
            layers=options.layers,
            vocabulary=options.vocabulary,
            dtype=getattr(torch, options.dtype),
        )
        compare(*pair, options)


if __name__ == "__main__":
    main()
