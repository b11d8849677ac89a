"""Tokens per second of vllm-steered against lm-eval's own vllm, the same settings for both.

    python benchmarks/vllm_steering.py [--model MODEL] [--rows 128 …] [--tokens 32] [--repeats 7]
                                       [--distinct 0 1 8 32 128 512] [--intervention add]
                                       [--eager] [--clock wall]

Both engines compile their model, and capture CUDA graphs where there is a GPU. All rows are in the
engine at once, with as many distinct pairs of concept and factor among them as the line says: 0 is
the steered engine whose requests are not steered, and a line with more pairs than rows has more
rows. Both engines run on this machine with the same settings and weights, in pairs of alternating
order; printed are median rates, and the median over pairs of their ratio, its lowest and its
highest; beside it the ratio of the fastest runs, which other load on the machine moves least. With
--eager a third engine, steered and not compiled, is measured against the steered one.

The default model is the hard case: it is so small that whatever steering adds to a step counts.
--model random takes a Llama of 50 million random weights. On a machine shared with others, --clock
cpu counts processor time, of all processes, instead of wall time.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")  # the same for both

import psutil
import torch
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.methods.base import unit
from lm_eval.api.instance import Instance
from lm_eval.models.vllm_causallms import VLLM
from steered_generation import FACTORS, random_llama
from transformers import AutoConfig

from harness import compose

SteeredVLLM = compose("vllm-steered")

TARGET = 0.97
CONCEPTS = 128
DISTINCT = (0, 1, 8, 32, 128, 512)
PAIRS = [(concept, factor) for factor in FACTORS for concept in range(CONCEPTS)]


def random_dictionary(folder: Path, path: str) -> Path:
    """Random unit vectors in the middle of the model, max_act 1."""
    config = AutoConfig.from_pretrained(path).get_text_config()
    width = config.hidden_size
    vectors = unit(torch.randn(CONCEPTS, width, generator=torch.Generator().manual_seed(1)))
    facts = {"max_act": [1.0] * CONCEPTS, "max_act_origin": ["benchmark"] * CONCEPTS}
    site = {"layer": config.num_hidden_layers // 2, "prefix": 1, "chat": False}
    made = dictionary.write(
        folder,
        recipe={},
        facts=site | {"model": {"name": "benchmark", "hidden_size": width}},
        concepts=tuple(Concept(k, f"concept {k}", "text") for k in range(CONCEPTS)),
        methods={"random": dictionary.Entry(kinds.VECTORS, {"weight": vectors}, {}, facts)},
    )
    return made.folder


def requests(rows: int, tokens: int, distinct: int) -> list[Any]:
    """Prompts of 4 to 40 words, steered by the first of all pairs of concept and factor in turn."""
    rng = random.Random(0)
    sampling = {"until": [], "max_gen_toks": tokens, "ignore_eos": True, "do_sample": False}
    made = []
    for row in range(rows):
        prompt = " ".join(rng.choice(("sea", "sand", "tide", "reef")) for _ in range(4 + row % 37))
        doc: dict[str, Any] = {}
        if distinct:
            doc = dict(zip(("concept_id", "factor"), PAIRS[row % distinct], strict=True))
        made.append(Instance("generate_until", doc, (prompt, sampling), 0, ("benchmark", row, 1)))
    return made


def processor_time() -> float:
    """Seconds that this process and the engines' processes have computed."""
    own = psutil.Process()
    spent = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(times.user + times.system for times in spent)


def seconds(lm: Any, asked: list[Any], clock: Callable[[], float]) -> float:
    """Time of one run over all rows."""
    start = clock()
    lm.generate_until(asked, disable_tqdm=True)
    return clock() - start


def measured(
    pair: list[tuple[Any, list[Any]]], repeats: int, clock: Callable[[], float]
) -> list[list[float]]:
    """Seconds of two models with what each is asked, in alternating order: [2, repeats]."""
    times: list[list[float]] = [[], []]
    for repeat in range(repeats):
        for place in (0, 1) if repeat % 2 == 0 else (1, 0):
            lm, asked = pair[place]
            times[place].append(seconds(lm, asked, clock))
    return times


def line(name: str, times: list[list[float]], total: int) -> str:
    """The second's speed over the first's."""
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    rates = [total / statistics.median(spent) for spent in times]
    ratio, fastest = statistics.median(ratios), min(times[0]) / min(times[1])
    return (
        f"{name:>16} {rates[0]:10.0f} {rates[1]:10.0f} {ratio:8.3f} "
        f"({ratios[0]:.3f}–{ratios[-1]:.3f}) {fastest:8.3f}"
    )


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="testbed:teacher", help="id or path, or random")
    parser.add_argument("--rows", type=int, nargs="+", default=[128])
    parser.add_argument("--distinct", type=int, nargs="+", default=DISTINCT)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--intervention", default="add")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    options.clock = processor_time if options.clock == "cpu" else time.perf_counter
    if max(options.distinct) > len(PAIRS):
        parser.error(f"--distinct: there are {len(PAIRS)} pairs of concept and factor")
    return options


def compare(plain: Any, steered: Any, eager: Any, options: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"{'rows × pairs':>16} {'vllm':>10} {'steered':>10} {'ratio':>8} fastest, of {TARGET}")
    shapes = {(max(rows, pairs), pairs) for rows in options.rows for pairs in options.distinct}
    for rows, pairs in sorted(shapes, key=lambda shape: shape[::-1]):
        asked = [requests(rows, options.tokens, number) for number in (0, pairs)]
        given = list(zip((plain, steered), asked, strict=True))
        name = f"{rows} × {pairs}" if pairs else f"{rows} × idle"
        times = measured(given, options.repeats, options.clock)
        print(line(name, times, rows * options.tokens), flush=True)
        if eager is not None:
            times = measured([(eager, asked[1]), given[1]], options.repeats, options.clock)
            print(line("over eager", times, rows * options.tokens), flush=True)


def main() -> None:
    """Start the engines, and compare them."""
    options = parsed()
    from harness.testbed import resolve

    most = max(*options.rows, *options.distinct)
    settings: dict[str, Any] = {
        "dtype": options.dtype,
        "max_model_len": 512,
        "max_num_seqs": most,
        "enable_prefix_caching": False,  # every repeat computes its prompts
        "batch_size": most,
    }
    if not torch.cuda.is_available():
        settings["kv_cache_memory_bytes"] = 2**30
    with tempfile.TemporaryDirectory() as place:
        drawn = options.model == "random"
        path = random_llama(Path(place) / "llama") if drawn else resolve(options.model)
        vectors = str(random_dictionary(Path(place) / "vectors", path))
        steering = {"steering": vectors, "intervention": options.intervention} | settings
        plain, steered = VLLM(path, **settings), SteeredVLLM(path, **steering)
        eager = SteeredVLLM(path, **steering, enforce_eager=True) if options.eager else None
        for lm in (plain, steered, *([eager] if eager else [])):
            seconds(lm, requests(most, 4, 1 if lm is not plain else 0), options.clock)
        compare(plain, steered, eager, options)


if __name__ == "__main__":
    main()
