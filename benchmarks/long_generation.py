"""A long generate task with lm-eval's stock hf, and with the models of this project unasked.

    python benchmarks/long_generation.py [--model testbed:teacher] [--prompts 64] [--tokens 96]

The prompts are instructions of unequal length, and each answer ends where the model ends it, so
that a batch's rows do not end together. No row is steered and nothing is drafted; what is compared
is how batches are run:

    hf                      lm-eval's own; the peer
    hf-steered              lm-eval's loop under the wrapper
    hf-speculative          the decoder without a drafter: a row that ends makes room for the next
    hf-steered+speculative  both

All run in one process on the same weights, in turns of changing order. Printed are tokens a second,
the median of the ratios to hf with the lowest and highest, the share of answers equal to hf's, and
the share of row steps of hf that no answer needed. Equal means to the last letter; in bfloat16 a
batch of another shape rounds otherwise, so hf at half the batch size is compared with itself too.
On a machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from harness_axbench.data.concepts import instructions
from harness_axbench.options import run_options
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from steered_generation import random_dictionary

from harness import compose
from harness.testbed import resolve

TARGET = 1.0
SIDES = ("hf", "hf-steered", "hf-speculative", "hf-steered+speculative")


def asked_of(lm: HFLM, texts: Sequence[str], tokens: int) -> list[Any]:
    """A request for each instruction, in the model's chat template if it has one."""
    kwargs = {"until": [], "max_gen_toks": tokens, "do_sample": False}
    if lm.tokenizer.chat_template:
        texts = [lm.apply_chat_template([{"role": "user", "content": text}]) for text in texts]
    return [
        Instance("generate_until", {"id": number}, (text, kwargs), 0, ("long", number, 1))
        for number, text in enumerate(texts)
    ]


def made(name: str, stock: HFLM, place: Path, shared: dict[str, Any]) -> Any:
    """A model of this project on the stock model's weights; a dictionary that no row asks for."""
    own = shared
    if "steered" in name:
        own = shared | {"steering": str(random_dictionary(place / name, stock))}
    return compose(name)(stock.model, tokenizer=stock.tokenizer, **own)


def spread(texts: Sequence[str], count: int) -> list[str]:
    """Instructions of all lengths: every so many of them, sorted by length."""
    by_length = sorted(dict.fromkeys(texts), key=len)
    if len(by_length) < count:
        raise SystemExit(f"{len(by_length)} instructions, fewer than --prompts {count}")
    step = len(by_length) / count
    return [by_length[int(k * step)] for k in range(count)]


def lengths(lm: HFLM, answers: Sequence[str], tokens: int) -> list[int]:
    """Tokens that each answer took, its end included where it has one."""
    return [min(tokens, len(lm.tok_encode(str(text))) + 1) for text in answers]


def idle(lm: HFLM, asked: Sequence[Any], taken: Sequence[int], batch_size: int) -> float:
    """The share of row steps of lm-eval's batches that write behind an answer's end."""
    size = [len(lm.tok_encode(request.args[0])) for request in asked]
    order = sorted(range(len(asked)), key=lambda k: -size[k])
    steps = 0
    for start in range(0, len(order), batch_size):
        own = [taken[k] for k in order[start : start + batch_size]]
        steps += max(own) * len(own)
    return 1 - sum(taken) / steps


def equal(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The share of equal answers."""
    return sum(str(a) == str(b) for a, b in zip(ours, theirs, strict=True)) / len(theirs)


def measure(
    sides: dict[str, Callable[[], list[Any]]], repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
    """Seconds and answers of each side, in turns of changing order."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    answers: dict[str, list[Any]] = {}
    for turn in range(repeats):
        names = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in names:
            start = clock()
            answers[name] = sides[name]()
            spent[name].append(clock() - start)
    return spent, answers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="testbed:teacher", help="id or path, or testbed:NAME")
    parser.add_argument("--data", default="testbed", help="hub, testbed, or an AxBench folder")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=96, help="of an answer, at most")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lm_eval")))
    source = run_options({"axbench_data": options.data}).data
    texts = spread(instructions("", source), options.prompts)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shared = {"device": device, "batch_size": options.batch_size, "dtype": options.dtype}
    stock = HFLM(resolve(options.model), **shared)
    with tempfile.TemporaryDirectory() as place:
        models = {name: made(name, stock, Path(place), shared) for name in options.sides[1:]}
    asked = asked_of(stock, texts, options.tokens)

    def run(lm: Any) -> Callable[[], list[Any]]:
        return lambda: list(lm.generate_until(asked, disable_tqdm=True))

    sides = {"hf": run(stock)} | {name: run(lm) for name, lm in models.items()}
    spent, answers = measure(sides, options.repeats, clock)
    report(stock, asked, spent, answers, options)
    if options.batch_size > 1:
        stock.batch_size_per_gpu = options.batch_size // 2
        same = equal(run(stock)(), answers["hf"])
        print(f"hf at half the batch size: {same:.0%} of its answers are equal")


def report(
    stock: HFLM,
    asked: Sequence[Any],
    spent: dict[str, list[float]],
    answers: dict[str, list[Any]],
    options: argparse.Namespace,
) -> None:
    """Print what was measured."""
    taken = lengths(stock, answers["hf"], options.tokens)
    size = [len(stock.tok_encode(request.args[0])) for request in asked]
    print(
        f"{len(asked)} prompts of {min(size)} to {max(size)} tokens, answers of {min(taken)} to "
        f"{max(taken)} (median {statistics.median(taken):.0f}); {options.dtype}, batches of "
        f"{options.batch_size}; {idle(stock, asked, taken, options.batch_size):.0%} of hf's row "
        "steps are behind an answer's end"
    )
    for name, seconds in spent.items():
        rate = sum(lengths(stock, answers[name], options.tokens)) / statistics.median(seconds)
        ratios = sorted(a / b for a, b in zip(spent["hf"], seconds, strict=True))
        ratio = statistics.median(ratios)
        verdict = "" if name == "hf" else f"; {'reached' if ratio >= TARGET else 'missed'}"
        print(
            f"{name:23}{rate:7.0f} tokens/s, {ratio:.2f} × hf ({ratios[0]:.2f} … {ratios[-1]:.2f})"
            f", equal {equal(answers[name], answers['hf']):.0%}{verdict}"
        )


if __name__ == "__main__":
    main()
