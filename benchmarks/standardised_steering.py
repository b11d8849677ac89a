"""Along what a direction of standardised states should write: s∘w, w/s or w, at equal pushes.

    python benchmarks/standardised_steering.py --model testbed:smollm2 --layer 15 --data FOLDER \
        [--dtype bfloat16] [--texts 3] [--pushes 0.15,0.3]

DiffMean and LinearProbe learn every concept from standardised states. The responses of evaluation
texts are then scored by the model while a multiple of the direction is added behind the prefix: the
same share of the states' median length for all three. Printed, over concepts:

    gain   how much more likely the concept's positives become than its negatives, in nats a token
    cost   how much less likely the negatives become

Only the blocks above the layer run. The interval of the gain is a bootstrap over concepts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.likelihood import moved, spoken, surprise
from harness_axbench.activations.loading import load_reader, width_of
from harness_axbench.activations.normalising import STANDARDISE
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson
from harness_axbench.metrics.detection import NEGATIVE, POSITIVE
from harness_axbench.options import run_options
from torch import Tensor
from torch.nn.functional import normalize

from harness.statistics import Mean

METHODS = ("diffmean", "probe")


def asked(data: ConceptData, texts: int) -> ConceptData:
    """Evaluation texts in the place of training texts; a concept's negatives are its own."""
    rows: list[Any] = []
    concepts = []
    for concept in data.concepts:
        genre = f"{concept.genre} of {concept.id}"
        concepts.append(replace(concept, genre=genre))
        for category, more in (
            (POSITIVE, {}),
            (NEGATIVE, {"concept_id": -1, "concept_genre": genre}),
        ):
            own = [r for r in data.evaluation if r["concept_id"] == concept.id]
            rows += [dict(r) | more for r in own if r["category"] == category][:texts]
    return replace(data, concepts=tuple(concepts), train=rows)


def ways(data: ConceptData, corpus: Corpus, width: int) -> dict[str, Tensor]:
    """Directions of length one [concepts, hidden] by method and way of writing."""
    found = {}
    for name in METHODS:
        kind = find(name)
        lesson = Lesson(
            data=data,
            concepts=data.concepts,
            corpus=corpus,
            settings=kind.settings(),
            hidden_size=width,
            seed=42,
            normalise=STANDARDISE,
        )
        own = kind.train(lesson).tensors
        along = {
            "s∘w": own["weight"],
            "w/s": own["encoder"],
            "w": own["encoder"] * own["spread"],
        }
        found |= {f"{name} {way}": normalize(rows, dim=1) for way, rows in along.items()}
    return found


@torch.no_grad()
def nats(corpus: Corpus, place: int, change: Tensor) -> Tensor:
    """−log P a token of each of a concept's texts [texts], positives first."""
    batch = corpus.batch(corpus.both[place])
    hidden = moved(batch, change.to(corpus.device))
    return surprise(corpus, batch, hidden) / batch.response.sum(1)


def main() -> None:
    """Read, learn, push, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="testbed:teacher")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--data", default="testbed")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--texts", type=int, default=3)
    parser.add_argument("--pushes", default="0.15,0.3")
    given = parser.parse_args()
    data = load(run_options({"axbench_data": given.data}))
    reader = load_reader(
        given.model,
        layer=given.layer,
        batch_size=8,
        device="auto",
        dtype=given.dtype,
        revision="main",
    )
    taught = Library(reader, data).corpus(data.concepts)
    length = float(torch.cat(taught.norms_of_concepts).median())
    along = ways(data, taught, width_of(reader.model))
    texts = asked(data, given.texts)
    corpus = spoken(Library(reader, texts).corpus(texts.concepts))
    places = range(len(texts.concepts))
    before = [nats(corpus, at, torch.zeros(width_of(reader.model))) for at in places]
    interval = Mean("gain", lambda item: item)
    for name, rows in along.items():
        for push in map(float, given.pushes.split(",")):
            gains, costs = [], []
            for at in places:
                better = before[at] - nats(corpus, at, push * length * rows[at])
                positives = len(corpus.positive[at])
                costs.append(-float(better[positives:].mean()))
                gains.append(float(better[:positives].mean()) + costs[-1])
            low, high = interval.interval(gains)
            print(
                f"{name:14s} push {push:g}: gain {interval(gains):+.3f} [{low:+.3f}, {high:+.3f}]"
                f"  cost {sum(costs) / len(costs):+.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
