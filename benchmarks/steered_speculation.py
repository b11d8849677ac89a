"""A steered evaluation with and without a drafter: the same answers, and how much faster.

    python benchmarks/steered_speculation.py [--rows 1 8] [--hidden 512] [--repeats 5]

Every request is steered towards one of sixteen concepts with one of eight factors. All sides answer
the same requests in one process with the same weights, in turns of random order:

    hf-steered   lm-eval's generation, steered; the peer
    plain        hf-steered+speculative without a drafter
    drafter      with the target's first block as the drafter, γ as far as it pays (the default)
    γ …          the same with a fixed γ
    stranger     with a drafter of random weights, which is never right; the default again

Greedy answers are compared with hf-steered's, sampled ones (gumbel, temperature 1) with those of
plain. Printed is the median of tokens a second, and of the ratios to hf-steered and to plain over
the turns, with the lowest and the highest; then theory's ceiling over plain at each fixed γ, from
the acceptance met and what passes cost here. "stranger" shows the price of a drafter that does not
pay. On a machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from harness_specdecode.couplings.theory import speed_up_here
from harness_specdecode.measuring.costs import Shape, costs_of, measure
from lm_eval.api.instance import Instance
from steered_generation import CONCEPTS, FACTORS, random_dictionary
from structured_pair import structured_pair
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness import compose, trace_of
from harness.testbed.english import corpus

WORDS = 40
Side = Callable[[], list[Any]]


def stranger(folder: Path, drafter: str) -> str:
    """A drafter of the same shape whose weights are others."""
    model = AutoModelForCausalLM.from_pretrained(drafter)
    torch.manual_seed(9)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(drafter).save_pretrained(folder)
    return str(folder)


def asked(rows: int, sampled: bool, options: argparse.Namespace, ends: Sequence[int]) -> list[Any]:
    """Requests, each with a steering of its own; no answer ends early."""
    kwargs: dict[str, Any] = {"until": [], "max_gen_toks": options.tokens, "do_sample": sampled}
    kwargs["suppress_tokens"] = list(ends)
    if sampled:
        kwargs |= {"temperature": 1.0, "top_k": 0}
    documents = list(dict.fromkeys(row["doc"] for row in corpus.claims("test")))
    return [
        Instance(
            "generate_until",
            {"concept_id": k % CONCEPTS, "factor": FACTORS[k % len(FACTORS)]},
            (" ".join(text.split()[: WORDS - k % 8]), kwargs),
            k,
            ("bench", k, 1),
        )
        for k, text in enumerate(documents[: max(rows, options.prompts)])
    ]


def sides(
    models: dict[str, Any], rows: int, requests: list[Any], gammas: list[int]
) -> dict[str, Side]:
    """Each way to answer the requests."""
    drafted, strange = models["drafter"], models["stranger"]

    def decoded(model: Any, **way: Any) -> Side:
        def side() -> list[Any]:
            model.decoding = replace(model.decoding, batch_size=rows, **way)
            found: list[Any] = model.generate_until(requests, disable_tqdm=True)
            return found

        return side

    own = {"drafter": drafted.drafts.name, "gamma": max(gammas), "adaptive": True}
    found = {"plain": decoded(drafted, **own | {"drafter": "none", "adaptive": False})}
    found["drafter"] = decoded(drafted, **own)
    for gamma in gammas:
        found[f"γ {gamma}"] = decoded(drafted, **own | {"gamma": gamma, "adaptive": False})
    found["stranger"] = decoded(strange, **own | {"drafter": strange.drafts.name})
    if not requests[0].args[1]["do_sample"]:
        stock = models[f"hf-steered {rows}"]
        found["hf-steered"] = lambda: stock.generate_until(requests, disable_tqdm=True)
    return found


def timed(ways: dict[str, Side], options: argparse.Namespace) -> tuple[dict[str, list[float]], Any]:
    """Tokens a second of each side, turn by turn, after one that does not count; last answers."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    order, shuffled, answers = list(ways), random.Random(0), {}
    for turn in range(-1, options.repeats):
        shuffled.shuffle(order)
        for name in order:
            start = clock()
            answers[name] = ways[name]()
            if turn >= 0:
                speeds[name].append(len(answers[name]) * options.tokens / (clock() - start))
    return speeds, answers


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median of pairs of one turn, lowest and highest."""
    found = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{statistics.median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})"


def measured(models: dict[str, Any], rows: int, sampled: bool, options: argparse.Namespace) -> None:
    """Print one batch size at one temperature."""
    model = models["drafter"]
    requests = asked(rows, sampled, options, sorted(model.ends()))
    speeds, answers = timed(sides(models, rows, requests, options.gammas), options)
    peer = "plain" if sampled else "hf-steered"
    print(f"\nbatch {rows}, {'sampled' if sampled else 'greedy'}, {len(requests)} requests")
    for name, found in speeds.items():
        same = sum(str(a) == str(b) for a, b in zip(answers[name], answers[peer], strict=True))
        ratios = [
            f"{ratio(found, speeds[p])} × {p}" for p in ("hf-steered", "plain") if p in speeds
        ]
        print(
            f"  {name:11} {statistics.median(found):8.1f} tokens/s   {'   '.join(ratios)}   "
            f"{same} of {len(requests)} answers as {peer}'s"
        )
    settings = model.settings(requests[0].args[1])
    lengths = [len(one.prompt) for one in model.asked(requests, settings.length)]
    shape = Shape(batch_size=rows, prompt=sum(lengths) // len(lengths), answer=settings.length)
    name = model.drafts.name
    seconds = measure(
        model, [name], shape, settings.sampling, schemes=["gumbel"], gammas=options.gammas, times=7
    )
    for gamma in options.gammas:
        made = [trace_of(answer)["speculation"] for answer in answers[f"γ {gamma}"]]
        tokens = sum(one["tokens"] for one in made) / sum(one["target_calls"] for one in made)
        share = sum(one["accepted"] for one in made) / sum(one["proposed"] for one in made)
        costs = costs_of(seconds, shape, drafter=name, scheme="gumbel", gamma=gamma)
        print(
            f"  γ {gamma}: {share:.2f} of the drafts accepted, {tokens:.2f} tokens a pass, a pass "
            f"over {gamma + 1} costs {costs.verify:.2f}; ceiling "
            f"{speed_up_here(tokens, gamma, costs):.2f} × plain"
        )


def arguments() -> argparse.Namespace:
    """What the command line gives."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--gammas", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--upper", type=float, default=0.05, help="what upper blocks write")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        target, drafter = structured_pair(
            Path(place), hidden=options.hidden, layers=options.layers, upper=options.upper
        )
        network = AutoModelForCausalLM.from_pretrained(target)
        steering = {
            "steering": str(random_dictionary(Path(place) / "d", SimpleNamespace(model=network))),
            "method": "random",
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }
        both = compose("hf-steered+speculative")
        models = {"drafter": both(target, drafter=drafter, dtype="float32", **steering)}
        shared = {"tokenizer": models["drafter"].tokenizer} | steering
        network = models["drafter"].model
        strange = stranger(Path(place) / "stranger", drafter)
        models["stranger"] = both(network, drafter=strange, **shared)
        for rows in options.rows:
            models[f"hf-steered {rows}"] = compose("hf-steered")(network, batch_size=rows, **shared)
        print(f"target {network.num_parameters() / 1e6:.1f} M parameters, {network.device}")
        for rows in options.rows:
            for sampled in (False, True):
                measured(models, rows, sampled, options)


if __name__ == "__main__":
    main()
