"""Steered generation over many concepts and factors: hf-steered against its peers.

    python benchmarks/steering_peers.py [--model MODEL] [--batch-size 320] [--tokens 32]

The work is AxBench's: every concept × factor × instruction. hf-steered takes all rows at once, each
with its own vector. The peers hold one vector at a time and run concept by concept and factor by
factor; the time they need to load the model again for each is *not* counted:

- lm-eval's own ``steered`` model,
- pyvene's AdditionIntervention and repeng's ControlModel, where they are installed.

All generate the same tokens from the same prompts (checked against ``steered``). Without --model
the weights are random: a Llama of 50 million parameters.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from harness_axbench.dictionary import folder as dictionary
from lm_eval.api.instance import Instance
from lm_eval.models.hf_steered import SteeredModel
from lm_eval.models.huggingface import HFLM
from steered_generation import random_dictionary, random_llama

from harness import compose

SteeredHF = compose("hf-steered")

TARGET = 3.0
WORDS = ("sea", "sand", "tide", "reef", "wind", "rock")


def requests(pairs: list[tuple[int, float]], instructions: int, tokens: int) -> list[Any]:
    """A row for each concept, factor and instruction."""
    kwargs = {"until": [], "max_gen_toks": tokens, "min_new_tokens": tokens, "do_sample": False}
    made = []
    for concept, factor in pairs:
        for number in range(instructions):
            words = [WORDS[(number + k) % len(WORDS)] for k in range(6 + 3 * number)]
            doc = {"concept_id": concept, "factor": factor}
            arguments = (" ".join(words), kwargs)
            made.append(Instance("generate_until", doc, arguments, 0, ("benchmark", len(made), 1)))
    return made


@contextmanager
def with_pyvene(lm: HFLM, layer: int, vector: torch.Tensor) -> Iterator[None]:
    """Generate through pyvene's intervenable model."""
    import pyvene

    intervention = {
        "layer": layer,
        "component": "block_output",
        "source_representation": vector,
        "intervention_type": pyvene.AdditionIntervention,
    }
    wrapped = pyvene.IntervenableModel([intervention], model=lm.model)

    def generate(context: torch.Tensor, max_length: int, stop: Any, **kwargs: Any) -> Any:
        mask = kwargs.pop("attention_mask")
        kwargs.pop("max_gen_toks", None)
        base = {"input_ids": context, "attention_mask": mask}
        kwargs = {"do_sample": False, "pad_token_id": 0, "use_cache": True} | kwargs
        _, found = wrapped.generate(
            base,
            unit_locations=None,
            intervene_on_prompt=True,
            max_length=max_length,
            min_new_tokens=max_length - context.shape[1],
            **{k: v for k, v in kwargs.items() if k not in ("min_new_tokens", "temperature")},
        )
        return found

    stock, lm._model_generate = lm._model_generate, generate
    try:
        yield
    finally:
        lm._model_generate = stock
        for handle in wrapped._intervention_reverse_link or {}:
            del handle


@contextmanager
def with_repeng(lm: HFLM, layer: int, vector: torch.Tensor) -> Iterator[None]:
    """Generate through repeng's control model."""
    import numpy

    numpy.float_ = numpy.float64  # repeng 0.4 names a type that NumPy 2 no longer has
    from repeng import ControlModel, ControlVector

    directions = {layer: vector.numpy()}
    wrapped = ControlModel(lm.model, [layer])
    wrapped.set_control(ControlVector(lm.model.config.model_type, directions), 1.0)
    try:
        yield
    finally:
        wrapped.reset()
        wrapped.unwrap()


def peers(lm: HFLM) -> dict[str, Callable[..., Any]]:
    """The installed peers that work on a loaded model."""
    every = {"pyvene": with_pyvene, "repeng": with_repeng}
    return {name: use for name, use in every.items() if importlib.util.find_spec(name)}


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Time of a call, and its result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


class Bench:
    """One model under all hands."""

    def __init__(self, options: argparse.Namespace, place: Path) -> None:
        from harness.testbed import resolve

        path = resolve(options.model) if options.model else random_llama(place / "llama")
        shared = {"device": "cpu", "batch_size": options.batch_size}
        self.stock = HFLM(path, **shared)
        folder = random_dictionary(place / "vectors", self.stock)
        self.found = dictionary.read(folder)
        self.ours = SteeredHF(path, steering=str(folder), **shared)
        self.pairs = [(c, f) for c in range(options.concepts) for f in options.factors]
        self.rows = requests(self.pairs, options.instructions, options.tokens)
        self.each = options.instructions
        self.theirs = self._steered(path, place, shared)

    def _steered(self, path: str, place: Path, shared: dict[str, Any]) -> SteeredModel:
        hook = {f"layers.{self.found.layer}": self._entry(0, 0.0)}
        torch.save(hook, place / "steer.pt")
        return SteeredModel(path, str(place / "steer.pt"), **shared)

    def _entry(self, concept: int, factor: float) -> dict[str, Any]:
        vector = self.found.weight("random")[concept]
        return {
            "steering_vector": vector,
            "steering_coefficient": factor,
            "action": "add",
            "bias": None,
            "head_index": None,
        }

    def run_ours(self) -> list[str]:
        """All rows at once."""
        return list(self.ours.generate_until(self.rows, disable_tqdm=True))

    def run_steered(self) -> list[str]:
        """Concept by concept and factor by factor, lm-eval's own model."""
        answers: list[str] = []
        for number, (concept, factor) in enumerate(self.pairs):
            vector = factor * self.found.weight("random")[concept]
            hook = {f"layers.{self.found.layer}": lambda hidden, v=vector: hidden + v}
            self.theirs.hook_to_steer = hook
            rows = self.rows[number * self.each : (number + 1) * self.each]
            answers += self.theirs.generate_until(rows, disable_tqdm=True)
        return answers

    def run_peer(self, use: Callable[..., Any]) -> list[str]:
        """The same with another library's hands on the stock model."""
        answers: list[str] = []
        for number, (concept, factor) in enumerate(self.pairs):
            vector = factor * self.found.weight("random")[concept]
            rows = self.rows[number * self.each : (number + 1) * self.each]
            with use(self.stock, self.found.layer, vector):
                answers += self.stock.generate_until(rows, disable_tqdm=True)
        return answers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model id or path, or testbed:teacher")
    parser.add_argument("--concepts", type=int, default=8)
    parser.add_argument("--factors", type=float, nargs="+", default=[0.4, 1.0, 2.0, 4.0])
    parser.add_argument("--instructions", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        bench = Bench(options, Path(place))
        runs: dict[str, Callable[[], list[str]]] = {"steered (lm-eval)": bench.run_steered}
        for name, use in peers(bench.stock).items():
            runs[name] = lambda use=use: bench.run_peer(use)
        ours = bench.run_ours()
        print(f"{len(bench.rows)} rows, {len(bench.pairs)} pairs of concept and factor")
        for name, run in runs.items():
            equal = sum(a == b for a, b in zip(ours, run(), strict=True)) / len(ours)
            ratios = []
            for _ in range(options.repeats):
                theirs, mine = seconds(run)[0], seconds(bench.run_ours)[0]
                ratios.append(theirs / mine)
            ratio = statistics.median(ratios)
            verdict = ""
            if name.startswith("steered"):
                verdict = f"; target {TARGET}: {'reached' if ratio >= TARGET else 'missed'}"
            spread = ", ".join(f"{value:.2f}" for value in sorted(ratios))
            print(f"{name:18} {ratio:6.2f} × slower ({spread}); equal {equal:.0%}{verdict}")


if __name__ == "__main__":
    main()
