"""Tokens per second of vllm-steered against lm-eval's own vllm, in eager mode both.

    python benchmarks/vllm_steering.py [--model MODEL] [--rows 128] [--tokens 32] [--repeats 7]
                                       [--intervention add] [--clock wall]

All rows are in the engine at once, with as many distinct concepts among them as the line says, and
factors that change from row to row. Both engines run on this machine with the same settings and
weights, in pairs of alternating order; printed are median rates, and the median over pairs of their
ratio; beside it the ratio of the fastest runs, which other load on the machine moves least. The
default model is the hard case: it is so small that whatever steering adds to a step counts. --model
random takes a Llama of 50 million random weights. On a machine shared with others, --clock cpu
counts processor time, of all processes, instead of wall time.
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

TARGET = 0.9
CONCEPTS = 128
DISTINCT = (1, 8, 32, 128)


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


def requests(rows: int, tokens: int, distinct: int | None) -> list[Any]:
    """Prompts of 4 to 40 words; concept and factor change from row to row."""
    rng = random.Random(0)
    sampling = {"until": [], "max_gen_toks": tokens, "ignore_eos": True, "do_sample": False}
    made = []
    for row in range(rows):
        prompt = " ".join(rng.choice(("sea", "sand", "tide", "reef")) for _ in range(4 + row % 37))
        doc: dict[str, Any] = {}
        if distinct is not None:
            doc = {"concept_id": row % distinct, "factor": FACTORS[row % len(FACTORS)]}
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


def compare(plain: Any, steered: Any, distinct: int, options: Any) -> None:
    """Measure and print one line."""
    unsteered = requests(options.rows, options.tokens, None)
    asked = requests(options.rows, options.tokens, distinct)
    pair = [("vllm", plain, unsteered), ("vllm-steered", steered, asked)]
    times: dict[str, list[float]] = {"vllm": [], "vllm-steered": []}
    for repeat in range(options.repeats):
        for name, lm, given in pair if repeat % 2 == 0 else reversed(pair):
            times[name].append(seconds(lm, given, options.clock))
    total = options.rows * options.tokens
    rates = {name: total / statistics.median(spent) for name, spent in times.items()}
    ratios = [a / b for a, b in zip(times["vllm"], times["vllm-steered"], strict=True)]
    ratio = statistics.median(ratios)
    fastest = min(times["vllm"]) / min(times["vllm-steered"])
    print(
        f"{distinct:9} {rates['vllm']:14.0f} {rates['vllm-steered']:14.0f} {ratio:8.3f} "
        f"{fastest:10.3f}   {'reached' if ratio >= TARGET else 'missed'}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="testbed:teacher", help="id or path, or random")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--intervention", default="add")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    options.clock = processor_time if options.clock == "cpu" else time.perf_counter
    from harness.testbed import resolve

    settings: dict[str, Any] = {
        "dtype": options.dtype,
        "enforce_eager": True,
        "max_model_len": 512,
        "max_num_seqs": options.rows,
        "enable_prefix_caching": False,  # every repeat computes its prompts
        "batch_size": options.rows,
    }
    if not torch.cuda.is_available():
        settings["kv_cache_memory_bytes"] = 2**30
    with tempfile.TemporaryDirectory() as place:
        drawn = options.model == "random"
        path = random_llama(Path(place) / "llama") if drawn else resolve(options.model)
        vectors = str(random_dictionary(Path(place) / "vectors", path))
        plain = VLLM(path, **settings)
        steered = SteeredVLLM(path, steering=vectors, intervention=options.intervention, **settings)
        for lm in (plain, steered):
            seconds(lm, requests(options.rows, options.tokens, 1), options.clock)
        print(
            f"{'concepts':>9} {'vllm tokens/s':>14} {'steered':>14} {'ratio':>8}   target {TARGET}"
        )
        for distinct in DISTINCT:
            compare(plain, steered, distinct, options)


if __name__ == "__main__":
    main()
