"""Tokens per second of hf-steered against lm-eval's own hf, on the same batches.

    python benchmarks/steered_generation.py [--model MODEL] [--rows 48] [--tokens 64] [--repeats 7]

Every row of a batch is steered towards another concept with another factor. Both models run in one
process on the same weights, in pairs of alternating order; printed are median rates, and the median
over pairs of their ratio. Without --model the weights are random: a Llama of 50 million parameters.
On a machine shared with others, --threads 1 --clock cpu counts processor time instead of wall time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness_axbench.activations.loading import width_of
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.methods.base import unit
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness import compose
from harness.models.blocks import blocks

SteeredHF = compose("hf-steered")

TARGET = 0.95
CONCEPTS = 16
FACTORS = (0.2, 0.4, 0.8, 1.0, 1.6, 2.0, 3.0, 5.0)


def random_llama(folder: Path) -> str:
    """Save a Llama of random weights with a tokenizer of bytes, and give its folder."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=640,
        intermediate_size=1792,
        num_hidden_layers=8,
        num_attention_heads=10,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def random_dictionary(folder: Path, stock: HFLM) -> Path:
    """Random unit vectors in the middle of the model, max_act 1."""
    width = width_of(stock.model)
    vectors = unit(torch.randn(CONCEPTS, width, generator=torch.Generator().manual_seed(1)))
    facts = {"max_act": [1.0] * CONCEPTS, "max_act_origin": ["benchmark"] * CONCEPTS}
    stored = dictionary.Entry(kinds.VECTORS, {"weight": vectors}, {}, facts)
    concepts = tuple(Concept(k, f"concept {k}", "text") for k in range(CONCEPTS))
    site = {"layer": len(blocks(stock.model)) // 2, "prefix": 1, "chat": False}
    model = {"name": "benchmark", "hidden_size": width}
    made = dictionary.write(
        folder,
        recipe={},
        facts=site | {"model": model},
        concepts=concepts,
        methods={"random": stored},
    )
    return made.folder


def requests(rows: int, tokens: int) -> list[Any]:
    """Prompts of 4 to 40 words; concept and factor change from row to row."""
    rng = random.Random(0)
    kwargs = {"until": [], "max_gen_toks": tokens, "min_new_tokens": tokens, "do_sample": False}
    made = []
    for row in range(rows):
        prompt = " ".join(rng.choice(("sea", "sand", "tide", "reef")) for _ in range(4 + row % 37))
        doc = {"concept_id": row % CONCEPTS, "factor": FACTORS[row % len(FACTORS)]}
        made.append(Instance("generate_until", doc, (prompt, kwargs), 0, ("benchmark", row, 1)))
    return made


def seconds(lm: HFLM, asked: list[Any], clock: Callable[[], float]) -> float:
    """Time of one run over all rows."""
    start = clock()
    lm.generate_until(asked, disable_tqdm=True)
    return clock() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model id or path, or testbed:teacher")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    from harness.testbed import resolve

    with tempfile.TemporaryDirectory() as place:
        path = resolve(options.model) if options.model else random_llama(Path(place) / "llama")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        stock = HFLM(path, device=device, batch_size=options.batch_size)
        vectors = random_dictionary(Path(place) / "vectors", stock)
        steered = SteeredHF(
            path, steering=str(vectors), device=device, batch_size=options.batch_size
        )
        asked = requests(options.rows, options.tokens)
        for lm in (stock, steered):
            seconds(lm, asked[: options.batch_size], clock)
        times: dict[str, list[float]] = {"hf": [], "hf-steered": []}
        for repeat in range(options.repeats):
            pair = [("hf", stock), ("hf-steered", steered)]
            for name, lm in pair if repeat % 2 == 0 else reversed(pair):
                times[name].append(seconds(lm, asked, clock))
    total = options.rows * options.tokens
    rates = {name: total / statistics.median(spent) for name, spent in times.items()}
    for name, rate in rates.items():
        spread = ", ".join(f"{total / spent:.0f}" for spent in times[name])
        print(f"{name:11} {rate:8.0f} tokens/s   (runs: {spread})")
    ratio = statistics.median(a / b for a, b in zip(times["hf"], times["hf-steered"], strict=True))
    verdict = "reached" if ratio >= TARGET else "missed"
    print(f"ratio {ratio:.3f}; target {TARGET}: {verdict}")


if __name__ == "__main__":
    main()
