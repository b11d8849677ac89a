"""What the noise of drafter-invariant decoding costs per token at a real vocabulary.

    python benchmarks/speculative_noise.py [--vocabulary 151936] [--rows 1 8] [--repeats 7]

Four things in one process, in turns of changing order: the shared Gumbel noise of each row's next
token, and the exponential noise it is made of; torch's own ``empty(rows, V).exponential_()``, the
same law from one stream in the order of calls; and one forward step of a Llama of random weights
with a filled cache, by default in the shape of Qwen2.5-0.5B (24 blocks, hidden 896, intermediate
4864, 14 heads, 2 key-value heads, tied embeddings) and a context of 256 tokens. Printed are
medians, the exponential noise's ratio to torch's and the Gumbel noise's share of the step; the goal
is at most 10 %. On a machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from harness_specdecode.couplings.noise import Noise, request_key
from transformers import LlamaConfig, LlamaForCausalLM

GOAL = 0.10
POSITION = 7


def random_model(options: argparse.Namespace, device: str, dtype: torch.dtype) -> Any:
    """A Llama of random weights in the stated shape."""
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.heads,
        num_key_value_heads=options.key_value_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return LlamaForCausalLM(config).to(dtype).eval()


def step_of(model: Any, rows: int, context: int) -> Callable[[], Any]:
    """One forward step of one token a row behind a cache of a stated length."""
    ids = torch.full((rows, context), 5, device=model.device)
    with torch.inference_mode():
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values

    @torch.inference_mode()
    def step() -> Any:
        found = model(ids[:, :1], past_key_values=cache, use_cache=True).logits
        cache.crop(-1)
        return found

    return step


def timed(work: Callable[[], Any], clock: Callable[[], float], device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def compare(works: dict[str, Callable[[], Any]], repeats: int, measure: Any) -> dict[str, float]:
    """Median seconds of each, in turns of changing order, after one unmeasured turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for repeat in range(-1, repeats):
        for name in names if repeat % 2 else reversed(names):
            spent = measure(works[name])
            if repeat >= 0:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--intermediate", type=int, default=4864)
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--heads", type=int, default=14)
    parser.add_argument("--key-value-heads", type=int, default=2)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    model = random_model(options, device, dtype)
    millions = model.num_parameters() / 1e6
    print(f"{millions:.0f} M parameters, {dtype}, {device}, V = {options.vocabulary}")
    noise = Noise(0, device)
    for rows in options.rows:
        keys = [request_key(0, [row]) for row in range(rows)]
        held = torch.empty(rows, options.vocabulary, device=device)
        works: dict[str, Callable[[], Any]] = {
            "noise": lambda keys=keys: noise.gumbel(keys, POSITION, options.vocabulary),
            "exponential": lambda keys=keys: noise.exponential(keys, POSITION, options.vocabulary),
            "torch": lambda held=held: held.exponential_(),
            "step": step_of(model, rows, options.context),
        }
        found = compare(works, options.repeats, lambda work: timed(work, clock, device))
        gumbel, ours, stock, step = (1e3 * seconds for seconds in found.values())
        verdict = "reached" if gumbel / step <= GOAL else "missed"
        print(
            f"{rows} rows: Gumbel {gumbel:.2f} ms ({gumbel / rows:.2f} a token), exponential "
            f"{ours:.2f} ms, torch's {stock:.2f} ms, ratio {ours / stock:.2f}; step {step:.1f} ms, "
            f"share {gumbel / step:.1%}; goal {GOAL:.0%}: {verdict}"
        )


if __name__ == "__main__":
    main()
