"""What vllm-speculative's engines are asked, and a process of its own that asks them.

    python -m specdecode.vllm_engines STUDENT ANSWERS [WAY …]

An engine inside a process binds its threads to cores for good, and starts ten times sooner than one
in processes of its own; so all run inside this one. N-grams come last: they load llvmlite, with
which vLLM 0.32 starts no further engine in the process. Ways are those of ``vllm_ways``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.models.responses import trace_of

TEACHER = "testbed:teacher"
SEED = 5
ENGINE = {  # small steps cut prompts into chunks
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_batched_tokens": 256,
    "max_num_seqs": 32,
    "block_size": 32,
    "kv_cache_memory_bytes": 2**26,
}
PLACES = ("theater", "workshop", "harbour", "market", "garden", "window")
FORMS = ("What is the {} like?", "Tell me about the {}. Tell me about the {}.", "The {}")
TEXTS = [form.format(place, place) for form in FORMS for place in PLACES]
FEW = TEXTS[:6]  # whose prompts fit one step: in chunks, seeds of requests kill vLLM on a CPU
GREEDY = {"until": [], "max_gen_toks": 24, "do_sample": False}
SAMPLED = {"until": [], "max_gen_toks": 32, "do_sample": True, "temperature": 1.0, "top_k": 0}
CUT = {"until": ["."], "max_gen_toks": 24, "do_sample": True, "temperature": 0.8, "top_p": 0.9}
PENALISED = SAMPLED | {"repetition_penalty": 1.3, "top_k": 40, "min_p": 0.01}
SEEDED = SAMPLED | {"seed": 3}
LONG = "the old house near the river has a small garden and a green door and " * 25
CHI = {"until": [], "max_gen_toks": 2, "do_sample": True, "temperature": 1.2, "top_k": 4}
DRAWS = 800
SCORED = [("<|user|>\nHi\n<|assistant|>\n", "The window is open.")]


def turn(text):
    return f"<|user|>\n{text}\n<|assistant|>\n"


def ask(options, texts=TEXTS):
    return [
        Instance("generate_until", {}, (turn(text), dict(options)), k, ("t", k, 1))
        for k, text in enumerate(texts)
    ]


def mixed():
    """Requests of four kinds at once, one with a prompt of several chunks."""
    rows = [ask(options)[k] for k, options in enumerate((CUT, GREEDY, PENALISED, SAMPLED) * 3)]
    return [*rows, *ask(CUT, [LONG])]


def generate(lm, requests):
    return lm.generate_until(requests, disable_tqdm=True)


def opened(drafter, **options):
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")

    return SpeculativeVLLM(TEACHER, drafter=drafter, seed=SEED, **ENGINE | options)


@contextmanager
def stopping(lm):
    try:
        yield lm
    finally:
        lm.model.llm_engine.engine_core.shutdown()
        del lm.model
        gc.collect()


def asked_of(lm):
    """Everything that is asked of an engine, and what was counted meanwhile."""
    from lm_eval.models.vllm_causallms import VLLM

    found = {
        "greedy": generate(lm, ask(GREEDY)),
        "sampled": generate(lm, ask(SAMPLED)),
        "mixed": generate(lm, mixed()),
        "backwards": generate(lm, mixed()[::-1])[::-1],
        "repeats": generate(lm, ask(SAMPLED, TEXTS[:1]) * 3),
    }
    one = ask(CHI, ["Hi"]) * DRAWS
    found["draws"] = Counter(generate(lm, one))
    rows = [Instance("loglikelihood", {}, args, 0, ("t", 0, 1)) for args in SCORED]
    found["scored"] = lm.loglikelihood(rows, disable_tqdm=True)
    found["info"] = lm.get_model_info()
    lm.invariant = False  # vLLM's own sampler, for requests without a key
    try:
        found["stock"] = generate(lm, ask(SEEDED, FEW))
    except HarnessError as refused:
        found["refused"] = str(refused)
    try:
        generate(lm, ask(GREEDY | {"magic": 1}, FEW))
    except HarnessError as unknown:
        found["unknown"] = str(unknown)
    found["stock greedy"] = generate(lm, ask(GREEDY))
    lm._model_generate = VLLM._model_generate.__get__(lm)
    found["plain greedy"] = VLLM.generate_until(lm, ask(GREEDY), disable_tqdm=True)
    return found


def told(found):
    """The same as JSON."""
    return {
        kind: [(text, trace_of(text)) for text in value]
        if isinstance(value, list) and isinstance(value[0], str)
        else value
        for kind, value in found.items()
    }


def briefly_asked_of(lm):
    """A few of every kind; the last has a text as long as the cache."""
    found = {
        "sampled": generate(lm, ask(SAMPLED, FEW)),
        "mixed": generate(lm, mixed()),
        "greedy": generate(lm, ask(GREEDY, FEW)),
        "scored": lm.loglikelihood(
            [Instance("loglikelihood", {}, args, 0, ("t", 0, 1)) for args in SCORED],
            disable_tqdm=True,
        ),
    }
    runner = lm.in_workers("specdecode.vllm_engines:told_of_runner")
    return found | {"runner": runner[0], "preempted": preempted(lm), "info": lm.get_model_info()}


def told_of_runner(worker):
    """The model runner's module, and whether it is scheduled asynchronously."""
    runner = worker.model_runner
    return type(runner).__module__, bool(worker.scheduler_config.async_scheduling)


def preempted(lm):
    """How often a request gave up its place in the cache, to be computed again."""
    return sum(m.value for m in lm.model.get_metrics() if m.name == "vllm:num_preemptions")


def main(student, answers, *ways):
    from vllm_ways import take

    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    take(*ways)
    found = {}
    if ways:
        tight = {"num_gpu_blocks_override": 17, "async_scheduling": "asynchronous" in ways}
        for name, drafter in (("none", "none"), ("model", student)):
            with stopping(opened(drafter, invariant=True, **tight)) as lm:
                found[name] = told(briefly_asked_of(lm))
    else:
        for name, drafter in (("none", "none"), ("model", student), ("ngram", "ngram")):
            with stopping(opened(drafter, invariant=True)) as lm:
                found[name] = told(asked_of(lm))
    Path(answers).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
