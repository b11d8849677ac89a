"""How far what a method learns depends on the seed: the same concepts learnt again, and compared.

The dictionary keeps the vectors of the first seed. Of all seeds it keeps, for each concept,

    auroc    of the evaluation texts, positives against negatives, as ``axbench_detect`` has it
    cosine   with the first seed's vector

and what follows from them: the mean over concepts for each seed, its mean and standard deviation
over seeds (with n − 1), and the standard deviation over seeds of a single concept's, averaged over
concepts. Worked example: two concepts, of AUROC 1 and ½ under one seed and ½ and ½ under the other:
means ¾ and ½; over seeds 0.625 with the deviation 0.177; of single concepts 0.354 and 0, on average
0.177.

It is for methods that draw random numbers and leave vectors. Edits of the model (LoReFT, LoRA, SFT)
detect nothing, and heads (IG, InputXGradient) are not scored here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cosine_similarity

from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.dictionary.directions import Directions
from harness_axbench.dictionary.kinds import VECTORS
from harness_axbench.methods.base import Method, sequence_scores
from harness_axbench.metrics.detection import NEGATIVE, POSITIVE, auroc_of

if TYPE_CHECKING:
    from harness_axbench.training.options import Options

SPREAD = "spread"


def seeds_of(kind: type[Method], options: Options) -> Sequence[int]:
    """The seeds that a method is trained with; the first one's vectors are kept."""
    several = options.seeds if kind.draws and kind.kind == VECTORS else 1
    return range(options.seed, options.seed + several)


def unit_of(kind: type[Method], seed: int, options: Options) -> str:
    """Name of the unit with what a method learns under a seed."""
    return kind.name if seed == options.seed else f"{kind.name}.seed{seed}"


def compared(
    read: Mapping[str, Sequence[Directions]],
    reader: Reader,
    data: ConceptData,
    concepts: Sequence[Concept],
) -> dict[str, list[Any]]:
    """AUROC and cosine of some concepts under each seed.

    Args:
        read: For each method its directions under each seed.
        reader: Reads the evaluation texts.
        data: Has them.
        concepts: The concepts of the directions, in order.

    Returns:
        ``METHOD.auroc`` and ``METHOD.cosine``: for each concept a list with a value a seed; None
        where the concept has no texts to be scored on.
    """
    found: dict[str, list[Any]] = {}
    for name, own in read.items():
        cosines = [cosine_similarity(one.weight, own[0].weight) for one in own]
        found[f"{name}.cosine"] = torch.stack(cosines, dim=1).tolist()
    listed = [(name, seed, one) for name, own in read.items() for seed, one in enumerate(own)]
    items = _scored([one for _, _, one in listed], reader, data, concepts)
    for (name, _, _), own_items in zip(listed, items, strict=True):
        columns = found.setdefault(f"{name}.auroc", [[] for _ in concepts])
        for column, concept in zip(columns, concepts, strict=True):
            value = auroc_of(own_items[concept.id])
            column.append(None if math.isnan(value) else value)
    return found


def _scored(
    directions: Sequence[Directions],
    reader: Reader,
    data: ConceptData,
    concepts: Sequence[Concept],
) -> list[dict[int, list[dict[str, Any]]]]:
    """For each of the directions each concept's texts, with category and score."""
    place = {concept.id: at for at, concept in enumerate(concepts)}
    rows = [
        row
        for row in data.evaluation
        if row["concept_id"] in place and row["category"] in (POSITIVE, NEGATIVE)
    ]
    found: list[dict[int, list[dict[str, Any]]]] = [
        {c.id: [] for c in concepts} for _ in directions
    ]
    device = next(reader.model.parameters()).device
    placed = [own.to(device) for own in directions]
    for batch in reader.stream(rows, "texts for the spread over seeds"):
        for own, items in zip(placed, found, strict=True):
            scores = sequence_scores(own.scores(batch.hidden), batch.counted).cpu()
            for score, text in zip(scores, batch.texts, strict=True):
                number = rows[text]["concept_id"]
                category = rows[text]["category"]
                items[number].append({"category": category, "score": float(score[place[number]])})
    return found


def spread(
    seeds: Sequence[int], auroc: Sequence[Sequence[float | None]], cosine: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """What the manifest says of a method that was trained with several seeds.

    Args:
        seeds: The seeds, that of the vectors first.
        auroc: For each concept a value a seed; None where it has no texts.
        cosine: For each concept a value a seed.
    """
    known = [[float(v) for v in own if v is not None] for own in auroc if None not in own]
    means = [statistics.fmean(column) for column in zip(*known, strict=True)]
    return {
        "held": seeds[0],
        "trained": list(seeds),
        "concepts": len(known),
        "auroc": means,
        "auroc_mean": statistics.fmean(means) if means else None,
        "auroc_sd": statistics.stdev(means) if means else None,
        "auroc_sd_of_a_concept": statistics.fmean(map(statistics.stdev, known)) if known else None,
        "auroc_of_concepts": [list(own) for own in auroc],
        "cosine_of_concepts": [list(own) for own in cosine],
    }
