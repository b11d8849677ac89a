"""What ``dictionary.json`` says, as a schema: it is checked once, when a dictionary is opened.

What is only shown or compared (data, recipe, versions) may be anything; what is computed with is of
the type, in the range and of the length that is needed. Further entries are let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import ArtefactError
from harness.artefacts.reading import fitting
from harness_axbench.data.concepts import LARGEST_ID
from harness_axbench.dictionary.kinds import TEXTS, WEIGHTS

FORMAT = "axbench-dictionary/1"

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,100}$")]
Real = Annotated[float, Field(ge=-1e30, le=1e30)]
"""A finite number that single precision holds, and most products of it."""
Count = Annotated[int, Field(ge=0, lt=2**24)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class _File(_Record):
    file: str
    sha256: Digest


class _Seeds(_Record):
    """How detection depends on the seed, where several were trained."""

    held: int
    trained: Annotated[list[int], Field(min_length=2)]
    concepts: Count
    auroc: list[Real]
    auroc_mean: Real | None
    auroc_sd: Real | None
    auroc_sd_of_a_concept: Real | None
    auroc_of_concepts: list[list[Real | None]]
    cosine_of_concepts: list[list[Real]]


class Facts(_Record):
    """What is said of a method; the fields that all of a kind have, and those of single ones.

    Attributes:
        kind: One of ``kinds``.
        file: Its tensors, and their SHA-256; all kinds but ``weights``.
        values: Its JSON file, and the SHA-256.
        files: A file for each concept id; of ``weights``.
        activation: How a score follows from h·e + b.
        normalise: How states were put on one scale for it; None for not at all.
        norm_median: Of the states that each concept was learnt from; and their largest norm.
        max_act: The unit of each concept, and where it comes from.
        factors: What its steering is tried at; empty for none.
        scaling: LoRA's, and the names of the layers that it adds to.
        layers: The blocks that LoReFT edits, by so many dimensions.
    """

    kind: Literal["vectors", "texts", "heads", "adapters", "weights"]
    file: str | None = None
    sha256: Digest | None = None
    values: str | None = None
    values_sha256: Digest | None = None
    files: dict[Annotated[str, Field(pattern=r"^\d{1,10}$")], _File] | None = None
    activation: str = ""
    normalise: Literal["unit", "standardise"] | None = None
    intervention: str = ""
    norm_median: list[Real] | None = None
    norm_largest: list[Real] | None = None
    max_act: list[Real] | None = None
    max_act_origin: list[str] | None = None
    factors: list[Real] | None = None
    settings: dict[str, Any] = {}
    scaling: Real | None = None
    targets: list[str] | None = None
    layers: list[Count] | None = None
    rank: Count | None = None
    seeds: _Seeds | None = None

    @model_validator(mode="after")
    def _has_files(self) -> Facts:
        needed: dict[str, object] = {"file": self.file, "sha256": self.sha256}
        if self.kind == WEIGHTS:
            needed = {"files": self.files}
        if self.values is not None:
            needed["values_sha256"] = self.values_sha256
        for name, value in needed.items():
            if value is None:
                raise ValueError(f"{self.kind} need an entry '{name}'")
        return self


class _Named(_Record):
    id: Annotated[int, Field(ge=0, le=LARGEST_ID)]
    text: str
    genre: str
    ref: str = ""


class _Model(_Record):
    name: str
    hidden_size: Annotated[Count, Field(ge=1)]
    dtype: str | None = None
    revision: str | None = None
    sha256: Digest | None = None


class _Data(_Record):
    source: str | None = None


class Manifest(_Record):
    """The whole file."""

    layer: Annotated[int, Field(ge=-1, lt=2**16)]
    model: _Model | None
    prefix: Count
    chat: bool
    bos: Count | None = None
    add_bos_token: bool | None = None
    recipe: dict[str, Any]
    data: _Data | None = None
    concepts: Annotated[list[_Named], Field(min_length=1)]
    methods: Annotated[dict[Name, Facts], Field(min_length=1)]

    @model_validator(mode="after")
    def _agrees(self) -> Manifest:
        seen: set[int] = set()
        for concept in self.concepts:
            if concept.id in seen:
                raise ValueError(f"concepts: the id {concept.id} is there more than once")
            seen.add(concept.id)
        for method, facts in self.methods.items():
            if facts.kind != TEXTS and (self.model is None or self.layer < 0):
                raise ValueError(f"methods.{method}: {facts.kind} need a model and a layer")
            listed = ("max_act", "max_act_origin", "norm_median", "norm_largest")
            of_concepts = {name: getattr(facts, name) for name in listed}
            if facts.seeds is not None:
                for name in ("auroc_of_concepts", "cosine_of_concepts"):
                    of_concepts[f"seeds.{name}"] = getattr(facts.seeds, name)
            for name, own in of_concepts.items():
                if own is not None and len(own) != len(seen):
                    raise ValueError(
                        f"methods.{method}.{name}: {len(own)} entries for {len(seen)} concepts"
                    )
            strange = {int(number) for number in facts.files or ()} - seen
            if strange:
                raise ValueError(f"methods.{method}.files: there is no concept {min(strange)}")
        return self


def checked(found: object, path: Path) -> tuple[Mapping[str, Any], Manifest]:
    """A manifest as it was read, which is of the shape that it should be, and its typed reading.

    Args:
        found: What was read.
        path: For messages.

    Raises:
        ArtefactError: It is of another format, or a field is missing or wrong; the first is named.
    """
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtefactError(f"{path} is not of the format {FORMAT!r}")
    return found, fitting(Manifest, found, path, ArtefactError)
