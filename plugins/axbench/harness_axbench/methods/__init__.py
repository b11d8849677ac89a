"""The methods, and the small interface between them, training and the steered model.

Two kinds. A ``VectorMethod`` learns one direction w_c a concept from activations; its artefact is a
matrix of unit vectors [concepts, hidden], its token score h·w, its way to steer the addition of a
multiple of w. A ``TextMethod`` learns from words, scores texts, and cannot steer.

A vector method sees each unique training text once, in any order. Texts are in *groups*: group c
holds the positives of concept c, the groups behind hold the negatives of a genre.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.datasets import Row
from harness.errors import HarnessError
from harness_axbench.activations import Activations
from harness_axbench.data import ConceptData

_HOMES = {
    "diffmean": "harness_axbench.methods.diffmean:DiffMean",
    "random": "harness_axbench.methods.random:Random",
    "bow": "harness_axbench.methods.bow:BagOfWords",
}
NAMES = tuple(_HOMES)
EPSILON = 1e-12


@dataclass(frozen=True)
class Curriculum:
    """Unique training texts and the groups they are in.

    Attributes:
        rows: One row for each unique text.
        groups: For each text the groups it is in, as often as it occurs there.
        negative: For each concept the group of its negatives; its positives are group ``c``.
        n_groups: Number of groups.
    """

    rows: list[Row]
    groups: list[list[int]]
    negative: list[int]
    n_groups: int

    @property
    def n_concepts(self) -> int:
        """Number of concepts."""
        return len(self.negative)


def curriculum(data: ConceptData) -> Curriculum:
    """Unique texts of a data set's training rows, with positives and shared negatives as groups."""
    genres = list(dict.fromkeys(concept.genre for concept in data.concepts))
    first = len(data.concepts)
    rows: list[Row] = []
    groups: list[list[int]] = []
    place: dict[tuple[str, str], int] = {}
    members = [data.positives(c) for c in data.concepts] + [data.negatives(g) for g in genres]
    for group, texts in enumerate(members):
        for row in texts:
            key = (str(row["input"]), str(row["output"]))
            if key not in place:
                place[key] = len(rows)
                rows.append(row)
                groups.append([])
            groups[place[key]].append(group)
    negative = [first + genres.index(concept.genre) for concept in data.concepts]
    return Curriculum(rows, groups, negative, len(members))


class VectorMethod(ABC):
    """One unit vector a concept, learnt from activations and added to them."""

    name: ClassVar[str]
    reads_activations: ClassVar[bool] = True

    def __init__(self, plan: Curriculum, *, hidden_size: int, seed: int) -> None:
        self.plan, self.hidden_size, self.seed = plan, hidden_size, seed

    @abstractmethod
    def observe(self, batch: Activations) -> None:
        """Take in the activations of some training texts."""

    @abstractmethod
    def weight(self) -> Tensor:
        """The unit vectors [concepts, hidden], in fp32."""

    @staticmethod
    def token_scores(hidden: Tensor, weight: Tensor) -> Tensor:
        """Scores h·w [batch, tokens, concepts] of every token for every concept."""
        return hidden @ weight.T


class TextMethod(ABC):
    """A classifier of texts a concept."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def train(cls, data: ConceptData) -> TextMethod:
        """Fit every concept's positives against the negatives of its genre."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What to store: tensors, and JSON-able values."""

    @classmethod
    @abstractmethod
    def load(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> TextMethod:
        """The method from what ``state`` gave."""

    @abstractmethod
    def scores(self, texts: Sequence[str]) -> Tensor:
        """A score [texts, concepts] of each text for each concept."""


def find(name: str) -> type[VectorMethod] | type[TextMethod]:
    """The method of a name.

    Raises:
        HarnessError: There is no such method.
    """
    if name not in _HOMES:
        raise HarnessError(f"no method {name!r}; there are {', '.join(NAMES)}")
    module, _, attribute = _HOMES[name].partition(":")
    method: type[VectorMethod] | type[TextMethod] = getattr(import_module(module), attribute)
    return method


def unit(vectors: Tensor) -> Tensor:
    """Rows scaled to length one, w / (‖w‖ + ε), in fp32."""
    unit_rows: Tensor = vectors / (vectors.norm(dim=-1, keepdim=True) + EPSILON)
    return unit_rows.float()


def sequence_scores(scores: Tensor, counted: Tensor) -> Tensor:
    """Maximum over the tokens that count (§5.1 of the paper says mean; its Eq. 2 says maximum).

    Args:
        scores: Token scores. [batch, tokens, concepts]
        counted: Which tokens count. [batch, tokens]

    Returns:
        Sequence scores. [batch, concepts]
    """
    return scores.masked_fill(~counted.unsqueeze(-1), -torch.inf).amax(1)
