"""``vllm-steered+speculative`` on real CPU engines, in a process of its own.

    python -m composition.vllm_engines DICTIONARY STUDENT ANSWERS [WAY …]

Ways are those of ``vllm_ways``.

N-grams come last: they load llvmlite, with which vLLM 0.32 starts no further engine in the process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness_axbench.steering.positions import Positions
from vllm_ways import take

from composition.steering import GREEDY, POSITIONS, SAMPLED, asked, interventions
from harness import compose, trace_of

SEED = 3
ENGINE = {  # small steps cut prompts into chunks
    "dtype": "float32",
    "max_model_len": 512,
    "max_num_batched_tokens": 64,
    "max_num_seqs": 8,
    "block_size": 32,
    "kv_cache_memory_bytes": 2**26,
    "seed": SEED,
}


def at(lm: Any, positions: str) -> None:
    lm.plan = replace(lm.plan, positions=positions)
    lm._positions = Positions.parse(positions)


def answers(lm: Any, sampled: bool, where: Sequence[str]) -> dict[str, list[str]]:
    """Of rows that each have a concept, a factor and an intervention of their own."""
    lm.note = interventions(lm)
    found = {}
    for positions in where:
        at(lm, positions)
        for name, options in (("greedy", GREEDY), ("sampled", SAMPLED))[: 1 + sampled]:
            made = lm.generate_until(asked(options), disable_tqdm=True)
            found[f"{name} {positions}"] = list(map(str, made))
    if sampled:  # a step of one request each
        rows = [lm.generate_until([row], disable_tqdm=True)[0] for row in asked(SAMPLED)]
        found["one by one"] = list(map(str, rows))
    return found


def main(dictionary: str, student: str, out: str, *ways: str) -> None:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    take(*ways)
    common = {"steering": dictionary, "method": "diffmean"} | ENGINE
    found: dict[str, Any] = {}
    engines = {
        "steered": ("vllm-steered", {}),
        "none": ("vllm-steered+speculative", {"drafter": "none", "invariant": True}),
        "model": ("vllm-speculative+steered", {"drafter": student, "invariant": True}),
        "vLLM's own": ("vllm-steered+speculative", {"drafter": student}),
        "ngram": ("vllm-steered+speculative", {"drafter": "ngram", "invariant": True}),
    }
    if ways:  # in others than vLLM's own on a CPU, where it drafts no n-grams
        del engines["ngram"]
        common["async_scheduling"] = "asynchronous" in ways
    for name, (model, more) in engines.items():
        eager = bool(ways) or name != "model"  # that one is compiled, as by default
        lm = compose(model)("testbed:teacher", **common, **more, enforce_eager=eager)
        assert bool(lm.engine_config.scheduler_config.async_scheduling) == ("asynchronous" in ways)
        found[name] = answers(lm, more.get("invariant", False), POSITIONS[-2 if ways else 0 :])
        (one,) = lm.generate_until(asked(GREEDY)[:1], disable_tqdm=True)
        found[name]["trace"] = trace_of(one)
        found[name]["info"] = json.loads(json.dumps(lm.get_model_info(), default=str))
        lm.model.llm_engine.engine_core.shutdown()
        del lm.model
        gc.collect()
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
