"""Train a dictionary: one truncated pass over the unique training texts, one over the others.

The first pass feeds every vector method at once. The second scores the evaluation texts (or the
training texts again) for max_act_c, the largest sequence score of concept c, which is the unit of
the steering factor: ≤ 0 becomes 50, and 1 where the concept has no text to be scored on, as in the
reference. Taking it from the labelled evaluation texts is the paper's way and a known leak;
``max_act_from="train"`` avoids it. The dictionary records which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.datasets import Row
from harness.errors import HarnessError
from harness_axbench import data, dictionary
from harness_axbench.activations import Reader
from harness_axbench.methods import (
    Curriculum,
    TextMethod,
    VectorMethod,
    curriculum,
    find,
    sequence_scores,
)

NOT_POSITIVE, MISSING = 50.0, 1.0
SOURCES = ("eval", "train")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to train, on what, and where it goes.

    Attributes:
        methods: Names of methods.
        out: The dictionary's folder.
        model: Model id or path, or ``testbed:NAME``; not needed for methods that score texts.
        layer: The block, 0-indexed; not needed for methods that score texts.
        metadata: Data switches, as ``--metadata`` has them (``axbench_data``, …).
        max_act_from: ``eval`` or ``train``.
        batch_size: Texts a forward pass.
        device: Torch device; ``auto`` takes a GPU where there is one.
        dtype: Weights' dtype; ``auto`` takes the checkpoint's.
        revision: The model's revision on the hub.
        seed: Seed of the methods that draw random numbers.
    """

    methods: Sequence[str]
    out: Path
    model: str | None = None
    layer: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_act_from: str = "eval"
    batch_size: int = 8
    device: str = "auto"
    dtype: str = "auto"
    revision: str = "main"
    seed: int = 42


def train(options: Options) -> dictionary.Dictionary:
    """Train the methods and write the dictionary, or return the equal one that is already there.

    Raises:
        HarnessError: An option is wrong, the data or the model cannot be used, or the folder holds
            something else.
    """
    kinds = _checked(options)
    concept_data = data.load(options.metadata)
    vector = [kind for kind in kinds.values() if issubclass(kind, VectorMethod)]
    recipe = _recipe(options, concept_data, needs_model=bool(vector))
    present = dictionary.kept(options.out, recipe)
    if present is not None:
        return present
    stored: dict[str, dictionary.Stored] = {}
    facts: dict[str, Any] = {"layer": -1, "model": None, "prefix": 0, "chat": False}
    if vector:
        reader = _reader(options)
        facts = _facts(options, reader, recipe)
        stored |= _train_vectors(vector, reader, concept_data, options)
    for name, kind in kinds.items():
        if issubclass(kind, TextMethod):
            tensors, values = kind.train(concept_data).state()
            stored[name] = dictionary.Stored(dictionary.TEXTS, tensors, values, {})
    facts["data"] = {"source": str(concept_data.source), "sha256": concept_data.sha256}
    ordered = {name: stored[name] for name in kinds}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return dictionary.write(
        options.out, recipe=recipe, facts=facts, concepts=concept_data.concepts, methods=ordered
    )


def _checked(options: Options) -> dict[str, type[VectorMethod] | type[TextMethod]]:
    if options.max_act_from not in SOURCES:
        raise HarnessError(f"--max-act-from is one of {', '.join(SOURCES)}")
    if options.batch_size < 1:
        raise HarnessError("--batch-size is at least 1")
    kinds = {name: find(name) for name in options.methods}
    if not kinds:
        raise HarnessError("--methods names no method")
    for name, kind in kinds.items():
        if issubclass(kind, VectorMethod) and (options.model is None or options.layer is None):
            raise HarnessError(f"{name} needs --model and --layer")
    return kinds


def _resolved(model: str) -> str:
    from harness.testbed import resolve

    return resolve(model)


def _recipe(
    options: Options, concept_data: data.ConceptData, *, needs_model: bool
) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "methods": list(dict.fromkeys(options.methods)),
        "data_sha256": concept_data.sha256,
    }
    if needs_model:
        assert options.model is not None
        sha = dictionary.fingerprint(_resolved(options.model))
        recipe |= {
            "model": sha or f"{options.model}@{options.revision}",
            "layer": options.layer,
            "dtype": options.dtype,
            "max_act_from": options.max_act_from,
            "seed": options.seed,
        }
    return recipe


def _reader(options: Options) -> Reader:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert options.model is not None
    assert options.layer is not None
    path = _resolved(options.model)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=options.revision)
        model = AutoModelForCausalLM.from_pretrained(
            path, revision=options.revision, dtype=options.dtype
        )
        model.eval().to(device)
    except (OSError, ValueError, AttributeError, AssertionError, RuntimeError) as cause:
        raise HarnessError(f"model {options.model} cannot be loaded: {cause}") from cause
    return Reader(model, tokenizer, layer=options.layer, batch_size=options.batch_size)


def width_of(model: nn.Module) -> int:
    """The model's hidden size."""
    config: Any = model.config
    inner = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(inner.hidden_size)


def _facts(options: Options, reader: Reader, recipe: Mapping[str, Any]) -> dict[str, Any]:
    config: Any = reader.model.config
    local = Path(_resolved(options.model or "")).expanduser().is_dir()
    return {
        "model": {
            "name": options.model,
            "revision": getattr(config, "_commit_hash", None),
            "sha256": recipe["model"] if local else None,
            "hidden_size": width_of(reader.model),
            "dtype": str(next(reader.model.parameters()).dtype).removeprefix("torch."),
        },
        "layer": reader.layer,
        "site": "block output",
        "prefix": reader.prefix,
        "chat": reader.chat,
        "max_act_from": recipe["max_act_from"],
        "seed": recipe["seed"],
    }


def _train_vectors(
    kinds: Sequence[type[VectorMethod]],
    reader: Reader,
    concept_data: data.ConceptData,
    options: Options,
) -> dict[str, dictionary.Stored]:
    plan = curriculum(concept_data)
    width = width_of(reader.model)
    learners = [kind(plan, hidden_size=width, seed=options.seed) for kind in kinds]
    if any(learner.reads_activations for learner in learners):
        for batch in reader.stream(plan.rows, "training texts"):
            for learner in learners:
                learner.observe(batch)
    weights = {learner.name: learner.weight() for learner in learners}
    if options.max_act_from == "eval":
        rows, members = _evaluated(concept_data)
    else:
        rows, members = plan.rows, _taught(plan)
    best = largest_scores(kinds, weights, reader, rows, members)
    stored = {}
    for name, weight in weights.items():
        pairs = [_max_act(value, options.max_act_from) for value in best[name].tolist()]
        facts = {"max_act": [a for a, _ in pairs], "max_act_origin": [o for _, o in pairs]}
        stored[name] = dictionary.Stored(dictionary.VECTORS, {"weight": weight}, {}, facts)
    return stored


def _max_act(value: float, source: str) -> tuple[float, str]:
    if math.isinf(value):
        return MISSING, f"no text in {source}"
    return (value, source) if value > 0 else (NOT_POSITIVE, f"not positive in {source}")


def _evaluated(concept_data: data.ConceptData) -> tuple[list[Row], list[list[int]]]:
    """Unique evaluation texts, and for each the places of the concepts it belongs to."""
    place = {concept.id: at for at, concept in enumerate(concept_data.concepts)}
    rows: list[Row] = []
    members: list[list[int]] = []
    seen: dict[tuple[str, str], int] = {}
    for row in concept_data.evaluation:
        key = (str(row["input"]), str(row["output"]))
        if key not in seen:
            seen[key] = len(rows)
            rows.append(row)
            members.append([])
        members[seen[key]].append(place[row["concept_id"]])
    return rows, members


def _taught(plan: Curriculum) -> list[list[int]]:
    """For each training text the places of the concepts that were trained on it."""
    of_group: list[list[int]] = [[c] for c in range(plan.n_concepts)]
    of_group += [[] for _ in range(plan.n_groups - plan.n_concepts)]
    for concept, group in enumerate(plan.negative):
        of_group[group].append(concept)
    return [sorted({c for group in groups for c in of_group[group]}) for groups in plan.groups]


def largest_scores(
    kinds: Sequence[type[VectorMethod]],
    weights: Mapping[str, Tensor],
    reader: Reader,
    rows: Sequence[Row],
    members: Sequence[Sequence[int]],
) -> dict[str, Tensor]:
    """Each method's largest sequence score of every concept over the texts it belongs to.

    Returns:
        For each method [concepts]; −∞ for a concept without a text.
    """
    best = {name: torch.full((len(w),), -torch.inf) for name, w in weights.items()}
    device = next(reader.model.parameters()).device
    placed = {name: weight.to(device) for name, weight in weights.items()}
    for batch in reader.stream(rows, "texts for max_act"):
        for kind in kinds:
            weight = placed[kind.name]
            scores = sequence_scores(kind.token_scores(batch.hidden, weight), batch.counted).cpu()
            for row, text in enumerate(batch.texts):
                own = torch.tensor(members[text], dtype=torch.long)
                best[kind.name][own] = torch.maximum(best[kind.name][own], scores[row, own])
    return best
