"""Steered generation over many concepts and factors: hf-steered against its peers.

    pip install 'paperharness[peers-axbench]'
    python benchmarks/steering_peers.py [--model MODEL] [--batch-size 320] [--tokens 32]
    python benchmarks/steering_peers.py --model MODEL --steering DIR --method M --data FOLDER

The work is AxBench's: every concept × factor × instruction. hf-steered takes all rows at once, each
with its own vector. The peers are their own packages on the same loaded model; all but the last
hold one vector at a time and run concept by concept and factor by factor. The time they need to
load the model again, or to build a batch anew, is *not* counted:

    steered        lm-eval's own model
    pyvene         an IntervenableModel with pyvene's AdditionIntervention
    repeng         a ControlModel under set_control
    pyvene, mixed  AxBench's way: a trainable intervention that picks each row's vector by number,
                   so that a batch may mix concepts too

All generate the same number of tokens from the same prompts, greedily; printed are the median of
the ratios of the times over repeats in turns, the lowest and highest, and the share of equal
answers. Without --model the weights are random: a Llama of 50 million parameters; without
--steering the vectors are. --data takes the prompts from the instructions of a folder, and then
repeng's ControlVector.train is timed against ``harness axbench train`` on --pairs positives and
negatives a concept (other statistics of the same states: the cosines are for information). On a
machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from harness_axbench.data.concepts import ConceptData, instructions, load
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.options import run_options
from lm_eval.api.instance import Instance
from lm_eval.models.hf_steered import SteeredModel
from lm_eval.models.huggingface import HFLM
from repeng_training import against_repeng, peer
from steered_generation import random_dictionary, random_llama
from torch import Tensor

from harness import compose

SteeredHF = compose("hf-steered")

TARGETS = {"steered": 3.0, "pyvene": 2.0, "repeng": 2.0}
WORDS = ("sea", "sand", "tide", "reef", "wind", "rock")
Pair = tuple[int, float]
"""A concept and a factor."""


def made_up(count: int) -> list[str]:
    """Prompts of 6, 9, 12 … words."""
    return [" ".join(WORDS[(n + k) % len(WORDS)] for k in range(6 + 3 * n)) for n in range(count)]


def requests(pairs: Sequence[Pair], prompts: Sequence[str], tokens: int) -> list[Any]:
    """A row for each concept, factor and prompt."""
    kwargs = {"until": [], "max_gen_toks": tokens, "min_new_tokens": tokens, "do_sample": False}
    rows = [({"concept_id": c, "factor": f}, (text, kwargs)) for c, f in pairs for text in prompts]
    return [
        Instance("generate_until", doc, arguments, 0, ("benchmark", number, 1))
        for number, (doc, arguments) in enumerate(rows)
    ]


@contextmanager
def with_pyvene(lm: HFLM, layer: int, vector: Tensor) -> Iterator[None]:
    """Generate through pyvene's intervenable model."""
    import pyvene

    intervention = {
        "layer": layer,
        "component": "block_output",
        "source_representation": vector.to(lm.model.dtype),
        "intervention_type": pyvene.AdditionIntervention,
    }
    wrapped = pyvene.IntervenableModel([intervention], model=lm.model)

    def generate(context: Tensor, max_length: int, stop: Any, **kwargs: Any) -> Any:
        return _by_pyvene(
            wrapped,
            {"input_ids": context, "attention_mask": kwargs["attention_mask"]},
            max_length - context.shape[1],
        )

    stock, lm._model_generate = lm._model_generate, generate
    try:
        yield
    finally:
        lm._model_generate = stock


def _by_pyvene(wrapped: Any, batch: dict[str, Tensor], tokens: int, **more: Any) -> Tensor:
    _, found = wrapped.generate(
        batch,
        unit_locations=None,
        intervene_on_prompt=True,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        **more,
    )
    return found


@contextmanager
def with_repeng(lm: HFLM, layer: int, vector: Tensor) -> Iterator[None]:
    """Generate through repeng's control model."""
    repeng = peer()
    directions = {layer: vector.numpy()}
    wrapped = repeng.ControlModel(lm.model, [layer])
    wrapped.set_control(repeng.ControlVector(lm.model.config.model_type, directions), 1.0)
    try:
        yield
    finally:
        wrapped.reset()
        wrapped.unwrap()


class Mixed:
    """AxBench's steered generation: an intervention with all vectors, a number for each row.

    Args:
        lm: The model.
        layer: Its block.
        vectors: One for each pair. [pairs, hidden]
    """

    def __init__(self, lm: HFLM, layer: int, vectors: Tensor) -> None:
        import pyvene

        class Addition(
            pyvene.SourcelessIntervention,
            pyvene.TrainableIntervention,
            pyvene.DistributedRepresentationIntervention,
        ):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options, keep_last_dim=True)
                self.proj = torch.nn.Linear(self.embed_dim, len(vectors))
                self.proj.weight.data = vectors.to(lm.model.dtype)

            def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
                return base + self.proj.weight[subspaces["idx"]].unsqueeze(1)

        entry = {
            "layer": layer,
            "component": f"model.layers[{layer}].output",
            "low_rank_dimension": len(vectors),
            "intervention": Addition(embed_dim=vectors.shape[1], low_rank_dimension=len(vectors)),
        }
        config = pyvene.IntervenableConfig(representations=[entry])
        self._lm, self._wrapped = lm, pyvene.IntervenableModel(config, lm.model)

    def answers(self, rows: Sequence[Any], each: int, tokens: int, batch_size: int) -> list[str]:
        """Batches in the order of the rows, as the reference takes them."""
        found: list[str] = []
        for start in range(0, len(rows), batch_size):
            own = rows[start : start + batch_size]
            ids, mask = self._lm.tok_batch_encode([row.args[0] for row in own])
            idx = torch.tensor([(start + k) // each for k in range(len(own))])
            out = _by_pyvene(
                self._wrapped,
                {"input_ids": ids, "attention_mask": mask},
                tokens,
                subspaces=[{"idx": idx}],
            )
            found += [self._lm.tok_decode(row[ids.shape[1] :].tolist()) for row in out]
        return found


class Bench:
    """One model under all hands."""

    def __init__(self, options: argparse.Namespace, path: str, place: Path) -> None:
        shared = {"device": "cpu", "batch_size": options.batch_size, "dtype": options.dtype}
        self.options, self.stock = options, HFLM(path, **shared)
        self.method = options.method if options.steering else "random"
        folder = options.steering or random_dictionary(place / "vectors", self.stock)
        self.found = dictionary.read(folder)
        self.ours = SteeredHF(path, steering=str(folder), method=self.method, **shared)
        concepts = [concept.id for concept in self.found.concepts][: options.concepts]
        self.pairs = [(c, f) for c in concepts for f in options.factors]
        self.vectors = torch.stack([self._vector(*pair) for pair in self.pairs])
        prompts = self._prompts(options)
        self.rows, self.each = requests(self.pairs, prompts, options.tokens), len(prompts)
        hook = {f"layers.{self.found.layer}": self._entry(self.vectors[0])}
        torch.save(hook, place / "steer.pt")
        self.theirs = SteeredModel(path, str(place / "steer.pt"), **shared)

    def _vector(self, concept: int, factor: float) -> Tensor:
        at = self.found.place(concept)
        strength = factor * self.found.facts(self.method)["max_act"][at]
        vector: Tensor = strength * self.found.weight(self.method)[at]
        return vector

    def _prompts(self, options: argparse.Namespace) -> list[str]:
        if not options.data:
            return made_up(options.instructions)
        source = run_options({"axbench_data": options.data}).data
        asked = instructions("", source)[: options.instructions]
        return [self.stock.apply_chat_template([{"role": "user", "content": t}]) for t in asked]

    @staticmethod
    def _entry(vector: Tensor) -> dict[str, Any]:
        return {
            "steering_vector": vector,
            "steering_coefficient": 1.0,
            "action": "add",
            "bias": None,
            "head_index": None,
        }

    def run_ours(self) -> list[str]:
        """All rows at once."""
        return list(self.ours.generate_until(self.rows, disable_tqdm=True))

    def _one_by_one(self, answer: Callable[[Tensor, list[Any]], list[str]]) -> list[str]:
        """Concept by concept and factor by factor."""
        found: list[str] = []
        for number, vector in enumerate(self.vectors):
            found += answer(vector, self.rows[number * self.each : (number + 1) * self.each])
        return found

    def run_steered(self) -> list[str]:
        """lm-eval's own model."""

        def answer(vector: Tensor, rows: list[Any]) -> list[str]:
            added = vector.to(self.theirs.model.dtype)
            hook = {f"layers.{self.found.layer}": lambda hidden: hidden + added}
            self.theirs.hook_to_steer = hook
            return list(self.theirs.generate_until(rows, disable_tqdm=True))

        return self._one_by_one(answer)

    def run_peer(self, use: Callable[..., Any]) -> list[str]:
        """The same with another library's hands on the stock model."""

        def answer(vector: Tensor, rows: list[Any]) -> list[str]:
            with use(self.stock, self.found.layer, vector):
                return list(self.stock.generate_until(rows, disable_tqdm=True))

        return self._one_by_one(answer)

    def run_mixed(self) -> list[str]:
        """All rows in batches, by pyvene."""
        mixed = Mixed(self.stock, self.found.layer, self.vectors)
        own = self.options
        return mixed.answers(self.rows, self.each, own.tokens, own.batch_size)

    def runs(self) -> dict[str, Callable[[], list[str]]]:
        """What is measured, by name; peers that are not installed are said and left out."""
        found: dict[str, Callable[[], list[str]]] = {"steered": self.run_steered}
        if installed("pyvene"):
            found["pyvene"] = lambda: self.run_peer(with_pyvene)
            found["pyvene, mixed"] = self.run_mixed
        if installed("repeng"):
            found["repeng"] = lambda: self.run_peer(with_repeng)
        return {name: found[name] for name in self.options.peers or found if name in found}


def installed(package: str) -> bool:
    """Whether a peer is there; says its version, or how to get it."""
    try:
        print(f"{package} {version(package)}")
    except PackageNotFoundError:
        print(f"{package} is not here: pip install 'paperharness[peers-axbench]'")
        return False
    peer() if package == "repeng" else import_module(package)  # so that no measurement pays for it
    return True


def compare(bench: Bench, repeats: int, clock: Callable[[], float]) -> None:
    """Print each peer's ratio and how many answers are equal."""

    def timed(run: Callable[[], list[str]]) -> tuple[float, list[str]]:
        start = clock()
        found = run()
        return clock() - start, found

    print(f"{len(bench.rows)} rows, {len(bench.pairs)} pairs of concept and factor")
    for lm in (bench.ours, bench.stock, bench.theirs):  # what is done once is not measured
        lm.generate_until(bench.rows[:1], disable_tqdm=True)
    for name, run in bench.runs().items():
        ratios, same = [], 0
        for turn in range(repeats):
            order = [run, bench.run_ours] if turn % 2 == 0 else [bench.run_ours, run]
            (theirs, peers), (ours, own) = (timed(one) for one in order)
            if turn % 2:
                theirs, peers, ours, own = ours, own, theirs, peers
            ratios.append(theirs / ours)
            same = sum(a == b for a, b in zip(own, peers, strict=True))
        ratio, target = statistics.median(ratios), TARGETS.get(name, 1.0)
        verdict = "reached" if ratio >= target else "missed"
        spread = ", ".join(f"{value:.2f}" for value in sorted(ratios))
        print(
            f"{name:14} {ratio:6.2f} × slower ({spread}); equal {same} of {len(bench.rows)}; "
            f"target {target}: {verdict}",
            flush=True,
        )


def data_of(folder: str) -> ConceptData:
    """The concept data of a folder."""
    return load(run_options({"axbench_data": folder}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model id or path, or testbed:NAME")
    parser.add_argument("--steering", help="a dictionary")
    parser.add_argument("--method", default="diffmean", help="the dictionary's")
    parser.add_argument("--data", help="a folder of concept data with instructions")
    parser.add_argument("--pairs", type=int, default=16, help="texts a concept and side to learn")
    parser.add_argument("--concepts", type=int, default=8)
    parser.add_argument("--factors", type=float, nargs="+", default=[0.4, 1.0, 2.0, 4.0])
    parser.add_argument("--instructions", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=320)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="+", help="these only")
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    from harness.testbed import resolve

    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lm_eval")))
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        home = Path(place)
        path = resolve(options.model) if options.model else random_llama(home / "llama")
        bench = Bench(options, path, home)
        compare(bench, options.repeats, clock)
        trained = options.data and "repeng" in (options.peers or ["repeng"])
        if trained and installed("repeng"):
            against_repeng(bench.stock, data_of(options.data), bench.found, options, home, clock)


if __name__ == "__main__":
    main()
