"""Rows per second of vllm-fact-checker with vLLM's prefix cache, against it off and stock vllm.

    python benchmarks/vllm_fact_checking.py [--documents 12] [--claims 10] [--tokens 2000]
                                            [--kept 4] [--repeats 3]

A Llama of random weights judges claims about documents. Measured are

    prefix cache    vllm-fact-checker: the prompts about a document follow each other
    shuffled        the same engine, prompts in random order: its cache holds --kept documents, as a
                    GPU's holds some of a data set's thousands
    cache off       a second engine, started with enable_prefix_caching=False
    stock vllm      lm-eval's own loglikelihood (prompt_logprobs) in the first engine, once, on the
                    rows of --stock documents

Both engines run on this machine with the same settings and weights, in turns; the cache is emptied
before every run. Printed are median rates, how many times as fast the first line is (the median
over turns), and the share of the prompts' tokens that came from the cache, by vLLM's own metrics.
All ways must give the same margins.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch
from harness_factcg.checking.verdicts import prompt
from harness_factcg.models.next_word import by_prefix
from lm_eval.api.instance import Instance
from lm_eval.models.vllm_causallms import VLLM
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness import compose
from harness.models.responses import margin
from harness.testbed import resolve

FactCheckerVLLM = compose("vllm-fact-checker")

RATIO = 3.0
HITS = 0.8
NEAR = 1e-3  # nats between ways, float32
CLAIM = 90  # tokens that claim and question may take
WAYS = ("prefix cache", "shuffled", "cache off", "stock vllm")


def random_llama(folder: Path, options: Any) -> str:
    """Save a Llama of random weights with the testbed's tokenizer, and give its folder."""
    tokenizer = AutoTokenizer.from_pretrained(resolve("testbed:teacher"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 11 // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        max_position_embeddings=2 * options.tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def rows(documents: int, claims: int, tokens: int) -> list[tuple[str, str]]:
    """Documents of ¾ to 5/4 of so many tokens, each with its claims."""
    tokenizer = AutoTokenizer.from_pretrained(resolve("testbed:teacher"))
    rng = random.Random(0)
    words = ["house", "garden", "river", "door", "green", "old", "near", "small", "town", "day"]
    length = len(tokenizer(" ".join(rng.choices(words, k=1000)))["input_ids"]) / 1000

    def text(words_in_it: int) -> str:
        return " ".join(rng.choices(words, k=words_in_it)).capitalize() + "."

    made = []
    for _ in range(documents):
        document = text(int(tokens / length * rng.uniform(0.75, 1.25)))
        made += [(document, text(rng.randint(6, 14))) for _ in range(claims)]
    return made


def requests(asked: list[tuple[str, str]]) -> list[Any]:
    """No and Yes for each row, as lm-eval's multiple_choice makes them."""
    return [
        Instance(
            "loglikelihood",
            {"doc": document, "claim": claim},
            (prompt(document, claim), word),
            place,
            ("benchmark", number, 1),
        )
        for number, (document, claim) in enumerate(asked)
        for place, word in enumerate((" No", " Yes"))
    ]


def looked_up_and_found(lm: Any) -> tuple[int, int]:
    """Tokens looked up in the prefix cache since the engine's start, and found, by its metrics."""
    known = {m.name: m.value for m in lm.model.get_metrics() if m.name.startswith("vllm:prefix_")}
    return known["vllm:prefix_cache_queries"], known["vllm:prefix_cache_hits"]


class Runs:
    """What was measured: rows a second of each way and turn, and the share of kept tokens."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = {way: [] for way in WAYS}
        self.hits: dict[str, float | None] = dict.fromkeys(WAYS)
        self.margins: dict[str, dict[tuple[str, str], float]] = {}

    def run(self, way: str, lm: Any, asked: list[tuple[str, str]]) -> None:
        """Measure one way once."""
        ask = VLLM.loglikelihood if way == "stock vllm" else FactCheckerVLLM.loglikelihood
        lm.asker.reader.order = shuffled if way == "shuffled" else by_prefix
        made = requests(asked)
        counted = way in WAYS[:2]
        lm.model.reset_prefix_cache()
        before = looked_up_and_found(lm) if counted else (0, 0)
        start = time.perf_counter()
        answers = ask(lm, made, disable_tqdm=True)
        self.rates[way].append(len(asked) / (time.perf_counter() - start))
        if counted:
            after = looked_up_and_found(lm)
            self.hits[way] = (after[1] - before[1]) / (after[0] - before[0])
        found = [margin(no, yes) for no, yes in zip(answers[::2], answers[1::2], strict=True)]
        self.margins[way] = dict(zip(asked, found, strict=True))

    def print(self) -> None:
        """Print a line a way, and what became of the targets."""
        print(f"{'':14} {'rows/s':>8} {'prefix cache is':>17} {'from cache':>12}")
        first = self.rates[WAYS[0]]
        for way in WAYS:
            rates, hits = self.rates[way], self.hits[way]
            ratio = statistics.median(a / b for a, b in zip(first, rates, strict=False))
            kept = "" if hits is None else f"{hits:12.3f}"
            times = "" if way == WAYS[0] else f"{ratio:.2f} × as fast"
            print(f"{way:14} {statistics.median(rates):8.2f} {times:>17} {kept}")
        faster = statistics.median(
            a / b for a, b in zip(first, self.rates["cache off"], strict=True)
        )
        hits = self.hits[WAYS[0]] or 0.0
        for name, value, target in (
            ("ratio to cache off", faster, RATIO),
            ("from the cache", hits, HITS),
        ):
            print(
                f"{name} {value:.2f}, target {target}: {'reached' if value >= target else 'missed'}"
            )
        reference = self.margins[WAYS[0]]
        furthest = max(
            abs(value - reference[row])
            for found in self.margins.values()
            for row, value in found.items()
        )
        spread = statistics.pstdev(reference.values())
        print(f"margins differ by at most {furthest:.1e} nats (their spread is {spread:.2f})")
        if furthest > NEAR:
            raise SystemExit("the ways do not agree")


def shuffled(questions: Any) -> list[int]:
    """A random order."""
    return random.Random(1).sample(range(len(questions)), len(questions))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("--claims", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=2000, help="a document, in the mean")
    parser.add_argument("--kept", type=int, default=4, help="documents that the cache holds")
    parser.add_argument("--stock", type=int, default=2, help="documents for stock vllm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    a_token = (
        2 * options.layers * options.hidden * (4 if options.dtype == "float32" else 2)
    )  # bytes
    longest = options.tokens * 5 // 4 + CLAIM
    settings: dict[str, Any] = {
        "dtype": options.dtype,
        "enforce_eager": True,
        "max_model_len": longest + 128,
        "kv_cache_memory_bytes": a_token * longest * options.kept,
        "batch_size": "auto",
    }
    asked = rows(options.documents, options.claims, options.tokens)
    few = list(dict.fromkeys(document for document, _ in asked))[: options.stock]
    runs = Runs()
    with tempfile.TemporaryDirectory() as place:
        path = random_llama(Path(place) / "llama", options)
        off = FactCheckerVLLM(path, enable_prefix_caching=False, **settings)
        kept = FactCheckerVLLM(path, disable_log_stats=False, **settings)  # last: it has metrics
        print(f"{len(asked)} rows, {options.documents} documents", flush=True)
        for lm in (off, kept):
            lm.loglikelihood(requests(asked[:2]), disable_tqdm=True)
        for turn in range(options.repeats):
            turns = [(WAYS[0], kept), (WAYS[1], kept), (WAYS[2], off)]
            for way, lm in turns if turn % 2 == 0 else reversed(turns):
                runs.run(way, lm, asked)
        runs.run(WAYS[3], kept, [row for row in asked if row[0] in few])
        runs.print()


if __name__ == "__main__":
    main()
