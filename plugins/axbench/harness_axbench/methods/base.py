"""What a method is: it learns directions, texts, heads or edits from a concept's examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from harness import Row
from harness_axbench.activations.corpus import Corpus
from harness_axbench.activations.normalising import NONE, Scaling, directions
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.dictionary.directions import LINEAR
from harness_axbench.dictionary.kinds import ADAPTERS, HEADS, TEXTS, VECTORS

if TYPE_CHECKING:
    from harness_axbench.steering.editors import Editor
    from harness_axbench.steering.plan import Plan


EPSILON = 1e-12


@dataclass(frozen=True)
class NoSettings:
    """For methods with nothing to set."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a method learns from.

    Attributes:
        data: The whole data set.
        concepts: The concepts to learn, in order.
        corpus: Their texts, read; None for methods that do not use outputs.
        settings: The method's settings, an instance of ``Method.settings``.
        hidden_size: The model's width; 0 for methods without a model.
        normalise: How states are put on one scale, one of ``NORMALISATIONS``.
        seed: Seed of everything drawn; each concept draws from a generator of its own.
    """

    data: ConceptData
    concepts: tuple[Concept, ...]
    corpus: Corpus | None
    settings: Any
    hidden_size: int
    seed: int
    normalise: str = NONE

    @property
    def texts(self) -> Corpus:
        """The corpus of a method that uses outputs."""
        assert self.corpus is not None
        return self.corpus

    @cached_property
    def scalings(self) -> list[Scaling]:
        """How each concept's states are put on one scale."""
        return self.texts.scalings(self.normalise)

    def stored(self, weight: Tensor) -> Stored:
        """What is left of directions of length one [concepts, hidden] in the scaled states."""
        found = directions(weight.cpu(), [own.to("cpu") for own in self.scalings])
        norms = self.texts.norms_of_concepts
        each = {
            "norm_median": [float(own.median()) for own in norms],
            "norm_largest": [float(own.max()) for own in norms],
        }
        return Stored(tensors=found, each=each)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a method leaves of some concepts.

    Attributes:
        tensors: Each leads with the concepts, unless the method joins shards itself.
        values: JSON-able, for a file beside the tensors; none is written where it is empty.
        facts: For the manifest, equal in all shards.
        each: For the manifest, lists with an entry a concept.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, list[Any]] = field(default_factory=dict)


class Method(ABC):
    """A method of the paper.

    Attributes:
        name: What it is called in commands and dictionaries.
        kind: One of the kinds above.
        uses_model: Whether it needs a model at all.
        uses_outputs: Whether it needs the texts as block outputs.
        uses_negatives: Whether it needs those of the negatives too.
        normalises: Whether it learns from outputs alone, so that they may be scaled for it.
        draws: Whether what it learns depends on the seed.
        activation: Of ``vectors``: how a score follows from h·e + b.
        raw_factors: Whether factors are used as they are, without max_act.
        factors: The factors its steering is tried at; None for the paper's, empty for none.
        settings: A frozen dataclass; its defaults are the paper's.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = VECTORS
    uses_model: ClassVar[bool] = True
    uses_outputs: ClassVar[bool] = True
    uses_negatives: ClassVar[bool] = True
    normalises: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    activation: ClassVar[str] = LINEAR
    raw_factors: ClassVar[bool] = False
    factors: ClassVar[tuple[float, ...] | None] = None
    settings: ClassVar[type] = NoSettings

    @classmethod
    @abstractmethod
    def train(cls, lesson: Lesson) -> Stored:
        """Learn the lesson's concepts."""

    @classmethod
    def covered(cls, concepts: Sequence[Concept], settings: Any) -> Sequence[Concept]:
        """Which of a data set's concepts are learnt: all, unless a method costs too much."""
        return concepts

    @classmethod
    def join(cls, parts: Sequence[Stored]) -> Stored:
        """Shards, in the order of their concepts, as one."""
        first = parts[0]
        return Stored(
            tensors={k: torch.cat([part.tensors[k] for part in parts]) for k in first.tensors},
            values=first.values,
            facts=first.facts,
            each={k: [x for part in parts for x in part.each[k]] for k in first.each},
        )


class TextMethod(Method):
    """A classifier of texts a concept, without a model."""

    kind: ClassVar[str] = TEXTS
    uses_model: ClassVar[bool] = False
    uses_outputs: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def load(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> TextMethod:
        """The method from what ``train`` left."""

    @abstractmethod
    def scores(self, texts: Sequence[str]) -> Tensor:
        """A score [texts, concepts] of each text for each concept."""


class HeadMethod(Method):
    """A classifier a concept on the model's states, whose gradients score tokens."""

    kind: ClassVar[str] = HEADS

    @classmethod
    @abstractmethod
    def scores(
        cls,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        reader: Reader,
        rows: Sequence[Row],
        wanted: Sequence[Sequence[int]],
    ) -> list[list[float]]:
        """Sequence scores of texts.

        Args:
            tensors: What ``train`` left.
            facts: The manifest's entry of the method.
            reader: Has model, tokenizer, layer and prefix.
            rows: The texts.
            wanted: For each text the places of the concepts it is scored for.

        Returns:
            For each text a score for each of those.
        """


class EditingMethod(Method):
    """A method that edits the model itself; it has no factor and scores nothing."""

    kind: ClassVar[str] = ADAPTERS
    factors: ClassVar[tuple[float, ...] | None] = ()

    @classmethod
    @abstractmethod
    def editor(cls, model: Any, plan: Plan) -> Editor:
        """What puts the edits on a model.

        Raises:
            ArtefactError: The artefact does not fit the model.
        """


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
