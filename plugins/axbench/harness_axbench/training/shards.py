"""Train one shard of the concepts: read its texts once, teach every method, find max_act.

max_act_c, the largest sequence score of concept c, is the unit of the steering factor: ≤ 0 becomes
50, and 1 where the concept has no text to be scored on, as in the reference. Taking it from the
labelled evaluation texts is the paper's way and a known leak; ``max_act_from="train"`` avoids it.
Methods with raw factors have the unit 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from harness import Row
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.loading import load_reader, width_of
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.dictionary.directions import Directions
from harness_axbench.dictionary.kinds import VECTORS, WEIGHTS
from harness_axbench.dictionary.units import MISSING, max_act
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson, Method, Stored, sequence_scores
from harness_axbench.training.parts import MAX_ACT, Parts
from harness_axbench.training.seeds import SPREAD, compared, seeds_of, unit_of

if TYPE_CHECKING:
    from harness_axbench.training.options import Options


class Unit(NamedTuple):
    """What is learnt in one go: its name on disk, method, places of the concepts, and seed."""

    name: str
    kind: type[Method]
    places: Sequence[int]
    seed: int


def weights_of(kind: type[Method], concept: Concept) -> str:
    """Name of the unit with one concept's weights."""
    return f"{kind.name}.{concept.id}"


class ShardTrainer:
    """Trains shards in one process; the model and the shared negatives are read once.

    Args:
        options: What to train.
        data: On which data.
        parts: Where finished units go.
    """

    def __init__(self, options: Options, data: ConceptData, parts: Parts) -> None:
        self.options, self.data, self.parts = options, data, parts

    @cached_property
    def reader(self) -> Reader:
        """The model at its layer."""
        options = self.options
        assert options.model is not None
        assert options.layer is not None
        return load_reader(
            options.model,
            layer=options.layer,
            batch_size=options.batch_size,
            device=options.device,
            dtype=options.dtype,
            revision=options.revision,
            add_bos_token=options.add_bos_token,
        )

    @cached_property
    def _library(self) -> Library:
        return Library(self.reader, self.data)

    def train(self, shard: int) -> None:
        """Finish every unit of a shard that is not finished."""
        concepts = self.options.shard(self.data, shard)
        kinds = [find(name) for name in self.options.methods]
        units = [unit for kind in kinds for unit in self._units_of(kind, concepts)]
        missing = [unit for unit in units if not self.parts.has(shard, unit.name)]
        corpus: Corpus | None = None
        reading = [unit.kind for unit in missing if unit.kind.uses_outputs]
        if reading:
            negatives = any(kind.uses_negatives for kind in reading)
            corpus = self._library.corpus(concepts, negatives=negatives)
        for unit in missing:
            self.parts.put(shard, unit.name, self._teach(unit, concepts, corpus))
        scaled = [kind for kind in kinds if kind.kind == VECTORS]
        if scaled and not self.parts.has(shard, MAX_ACT):
            self.parts.put(shard, MAX_ACT, self._units(shard, scaled, concepts))
        if self.options.seeds > 1 and not self.parts.has(shard, SPREAD):
            self.parts.put(shard, SPREAD, self._spread(shard, kinds, concepts))

    def _units_of(self, kind: type[Method], concepts: Sequence[Concept]) -> list[Unit]:
        """What a method learns of a shard: all at once, or of the kind weights one by one."""
        options = self.options
        if kind.kind != WEIGHTS:
            return [
                Unit(unit_of(kind, seed, options), kind, range(len(concepts)), seed)
                for seed in seeds_of(kind, options)
            ]
        covered = {c.id for c in kind.covered(self.data.concepts, options.settings_of(kind))}
        return [
            Unit(weights_of(kind, concept), kind, [place], options.seed)
            for place, concept in enumerate(concepts)
            if concept.id in covered
        ]

    def _teach(self, unit: Unit, concepts: Sequence[Concept], corpus: Corpus | None) -> Stored:
        kind = unit.kind
        lesson = Lesson(
            data=self.data,
            concepts=tuple(concepts[place] for place in unit.places),
            corpus=corpus.of(unit.places) if corpus and kind.uses_outputs else None,
            settings=self.options.settings_of(kind),
            hidden_size=width_of(self.reader.model) if kind.uses_model else 0,
            seed=unit.seed,
            normalise=self.options.normalise_of(kind),
        )
        return kind.train(lesson)

    def _spread(
        self, shard: int, kinds: Sequence[type[Method]], concepts: Sequence[Concept]
    ) -> Stored:
        several = [kind for kind in kinds if len(seeds_of(kind, self.options)) > 1]
        read = {
            kind.name: [
                Directions.of(self.parts.get(shard, name).tensors, kind.activation)
                for name in (unit_of(kind, s, self.options) for s in seeds_of(kind, self.options))
            ]
            for kind in several
        }
        return Stored(tensors={}, each=compared(read, self.reader, self.data, concepts))

    def _units(
        self, shard: int, kinds: Sequence[type[Method]], concepts: Sequence[Concept]
    ) -> Stored:
        source = self.options.max_act_from
        read = {
            kind.name: Directions.of(self.parts.get(shard, kind.name).tensors, kind.activation)
            for kind in kinds
            if not kind.raw_factors
        }
        rows, members = texts_of(self.data, concepts, source)
        best = largest_scores(read, self.reader, rows, members) if read else {}
        each: dict[str, list[object]] = {}
        for kind in kinds:
            pairs = [(MISSING, "raw factors")] * len(concepts)
            if kind.name in best:
                pairs = [max_act(value, source) for value in best[kind.name].tolist()]
            each[f"{kind.name}.max_act"] = [value for value, _ in pairs]
            each[f"{kind.name}.max_act_origin"] = [origin for _, origin in pairs]
        return Stored(tensors={}, each=each)


def texts_of(
    data: ConceptData, concepts: Sequence[Concept], source: str
) -> tuple[list[Row], list[list[int]]]:
    """Unique texts of some concepts, and for each the places of the concepts it belongs to.

    Args:
        data: The concept data.
        concepts: The concepts; places are into this list.
        source: ``eval`` for the evaluation texts, ``train`` for positives and shared negatives.
    """
    place = {concept.id: at for at, concept in enumerate(concepts)}
    pairs: list[tuple[Row, int]] = []
    if source == "eval":
        own = (row for row in data.evaluation if row["concept_id"] in place)
        pairs = [(row, place[row["concept_id"]]) for row in own]
    else:
        for at, concept in enumerate(concepts):
            taught = [*data.positives(concept), *data.negatives(concept.genre)]
            pairs += [(row, at) for row in taught]
    members: dict[tuple[str, str], list[int]] = {}
    rows: list[Row] = []
    for row, at in pairs:
        key = (str(row["input"]), str(row["output"]))
        if key not in members:
            members[key] = []
            rows.append(row)
        members[key].append(at)
    return rows, list(members.values())


def largest_scores(
    read: Mapping[str, Directions],
    reader: Reader,
    rows: Sequence[Row],
    members: Sequence[Sequence[int]],
) -> dict[str, Tensor]:
    """Each method's largest sequence score of every concept over the texts it belongs to.

    Returns:
        For each method [concepts]; −∞ for a concept without a text.
    """
    best = {name: torch.full((len(own.weight),), -torch.inf) for name, own in read.items()}
    device = next(reader.model.parameters()).device
    placed = {name: own.to(device) for name, own in read.items()}
    for batch in reader.stream(rows, "texts for max_act"):
        for name, directions in placed.items():
            scores = sequence_scores(directions.scores(batch.hidden), batch.counted).cpu()
            for row, text in enumerate(batch.texts):
                own = torch.tensor(members[text], dtype=torch.long)
                best[name][own] = torch.maximum(best[name][own], scores[row, own])
    return best
