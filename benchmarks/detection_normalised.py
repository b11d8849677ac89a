"""Detection from states as they are, of one length, and standardised; every concept, one model.

    python benchmarks/detection_normalised.py --model testbed:smollm2 --layer 15 --data FOLDER \
        [--dtype bfloat16] [--negatives writer]

The closed-form methods and LinearProbe learn every concept of an AxBench data set under each
``--normalise``, from texts that are read once; the evaluation texts are read once for all of them.
Printed is the mean AUROC over concepts with its 95 % interval (bootstrap over concepts), beside the
bag of words' and a random direction's, and how long the states are.

``--negatives writer`` trains against other texts: in place of the target model's own answers, the
paper's training negatives, as many evaluation negatives of the genre's other concepts. Those have
the writer of the positives. What a method gains by them it had lost to telling writers apart.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.loading import load_reader, width_of
from harness_axbench.activations.normalising import NONE, NORMALISATIONS
from harness_axbench.data.concepts import ConceptData, load, whole_text
from harness_axbench.dictionary.directions import Directions
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson, sequence_scores
from harness_axbench.metrics.detection import NEGATIVE, POSITIVE, auroc
from harness_axbench.options import run_options
from rich.console import Console
from rich.table import Table

SEED = 42
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("diffmean", {}),
    ("pca", {}),
    ("lat", {}),
    ("probe", {}),
    ("probe", {"loss": "saturating"}),
)


def with_writers_negatives(data: ConceptData) -> ConceptData:
    """The data with training negatives of the positives' writer, a set for each concept.

    A concept becomes a genre of its own, whose negatives are drawn from the evaluation negatives of
    the other concepts of its genre.
    """
    rng = random.Random(SEED)
    rows: list[Any] = [row for row in data.train if row["category"] == POSITIVE]
    concepts = []
    for concept in data.concepts:
        own = {whole_text(r) for r in data.evaluation if r["concept_id"] == concept.id}
        others = {c.id for c in data.concepts if c.genre == concept.genre} - {concept.id}
        pool = [
            row
            for row in data.evaluation
            if row["category"] == NEGATIVE
            and row["concept_id"] in (others or {c.id for c in data.concepts})
            and whole_text(row) not in own
        ]
        genre = f"{concept.genre} of {concept.id}"
        drawn = rng.sample(pool, min(len(pool), len(data.negatives(concept.genre))))
        rows += [dict(row) | {"concept_id": -1, "concept_genre": genre} for row in drawn]
        concepts.append(replace(concept, genre=genre))
    return replace(data, concepts=tuple(concepts), train=rows)


def learnt(data: ConceptData, corpus: Corpus, width: int) -> Iterator[tuple[str, str, Directions]]:
    """Method, normalisation and directions of every combination that there is."""
    for name, settings in (*METHODS, ("random", {})):
        kind = find(name)
        for normalise in NORMALISATIONS if kind.normalises else (NONE,):
            lesson = Lesson(
                data=data,
                concepts=data.concepts,
                corpus=corpus,
                settings=kind.settings(**settings),
                hidden_size=width,
                seed=SEED,
                normalise=normalise,
            )
            title = " ".join([name, *settings.values()])
            yield title, normalise, Directions.of(kind.train(lesson).tensors, kind.activation)


def words(data: ConceptData, rows: Sequence[Any]) -> torch.Tensor:
    """The bag of words' scores [rows, concepts] of some texts."""
    kind = find("bow")
    lesson = Lesson(
        data=data,
        concepts=data.concepts,
        corpus=None,
        settings=kind.settings(),
        hidden_size=0,
        seed=SEED,
    )
    left = kind.train(lesson)
    method: Any = kind
    scores: torch.Tensor = method.load(left.tensors, left.values).scores(
        [whole_text(row) for row in rows]
    )
    return scores


def shown(data: ConceptData, rows: Sequence[Any], scores: torch.Tensor) -> str:
    """Mean AUROC over concepts, and its interval."""
    place = {concept.id: at for at, concept in enumerate(data.concepts)}
    items = [
        {
            "concept_id": row["concept_id"],
            "category": row["category"],
            "score": float(score[place[row["concept_id"]]]),
        }
        for row, score in zip(rows, scores, strict=True)
    ]
    low, high = auroc.interval(items)
    return f"{auroc(items):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Read, learn, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="testbed:teacher")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--data", default="testbed")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--negatives", choices=["target", "writer"], default="target")
    given = parser.parse_args()
    data = load(run_options({"axbench_data": given.data}))
    if given.negatives == "writer":
        data = with_writers_negatives(data)
    reader = load_reader(
        given.model,
        layer=given.layer,
        batch_size=8,
        device="auto",
        dtype=given.dtype,
        revision="main",
    )
    corpus = Library(reader, data).corpus(data.concepts)
    norms = torch.cat(corpus.norms_of_concepts)
    made = list(learnt(data, corpus, width_of(reader.model)))
    rows = [row for row in data.evaluation if row["category"] in (POSITIVE, NEGATIVE)]
    scores = [torch.empty(len(rows), len(data.concepts)) for _ in made]
    for batch in reader.stream(rows, "evaluation"):
        for own, (_, _, read) in zip(scores, made, strict=True):
            own[batch.texts] = sequence_scores(
                read.to(batch.hidden.device).scores(batch.hidden), batch.counted
            ).cpu()
    table = Table("method", *NORMALISATIONS, box=None)
    cells: dict[str, list[str]] = {}
    for (name, _, _), own in zip(made, scores, strict=True):
        cells.setdefault(name, []).append(shown(data, rows, own))
    cells["bow"] = [shown(data, rows, words(data, rows))]
    for name, own_cells in cells.items():
        table.add_row(name, *own_cells)
    console = Console(width=120)
    median, largest = float(norms.median()), float(norms.max())
    console.print(
        f"{given.model}, block {given.layer}, {len(data.concepts)} concepts, negatives by the "
        f"{given.negatives}; states' length: median {median:,.1f}, largest {largest:,.1f}, "
        f"ratio {largest / median:.2f}"
    )
    console.print(table)


if __name__ == "__main__":
    main()
