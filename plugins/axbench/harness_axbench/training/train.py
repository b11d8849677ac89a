"""Train a dictionary, shard of concepts by shard of concepts, and put the shards together.

In one process, in the processes of ``accelerate launch``, or on Ray. Which of them makes no
difference to the dictionary; nor does the size of the shards, or a kill in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness.artefacts.hub import commit_of
from harness.artefacts.trainings import alone, in_charge, settle
from harness.artefacts.writing import check_writable
from harness.errors import meant
from harness.models.checkpoints import content_of
from harness_axbench.activations.loading import resolved, width_of
from harness_axbench.activations.normalising import NONE, NORMALISATIONS
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.dictionary.folder import Dictionary, Entry, kept, read, write
from harness_axbench.dictionary.kinds import VECTORS, WEIGHTS
from harness_axbench.methods import NAMES, find
from harness_axbench.methods.base import Method, Stored
from harness_axbench.training.executors import EXECUTORS, run
from harness_axbench.training.options import SOURCES, Options
from harness_axbench.training.parts import MAX_ACT, Parts
from harness_axbench.training.seeds import SPREAD, seeds_of, spread
from harness_axbench.training.shards import ShardTrainer, weights_of

NUMERICS = 3
"""Raised where methods learn other numbers than before from the same recipe."""


def train(options: Options) -> Dictionary:
    """Train the methods and write the dictionary, or return the equal one that is already there.

    Raises:
        HarnessError: An option is wrong, the data or the model cannot be used, or the folder holds
            something else.
    """
    options = replace(options, methods=list(dict.fromkeys(options.methods)))
    kinds = _checked(options)
    if not options.out.exists():
        check_writable(options.out)
    found = load(options.run)
    recipe = _recipe(options, kinds, found)
    parts = Parts.beside(options.out, recipe)
    present = kept(options.out, recipe)
    if present is not None:
        parts.remove()  # a kill may have left them
        return present
    with alone(options.out, "training", parts.told):
        return _trained(options, kinds, found, recipe, parts)


def _trained(
    options: Options,
    kinds: Mapping[str, type[Method]],
    found: ConceptData,
    recipe: Mapping[str, Any],
    parts: Parts,
) -> Dictionary:
    """The dictionary, from the units that are there and those that are missing."""
    trainer = ShardTrainer(options, found, parts)
    run(trainer, range(options.n_shards(found)))
    if not in_charge():
        settle()
        return read(options.out)
    stored = _joined(options, kinds, parts, found)
    facts: dict[str, Any] = {"layer": -1, "model": None, "prefix": 0, "chat": False}
    if any(kind.uses_model for kind in kinds.values()):
        facts = _facts(options, trainer, recipe)
    facts["data"] = {"source": str(found.source), "sha256": found.sha256}
    written = write(
        options.out, recipe=recipe, facts=facts, concepts=found.concepts, methods=stored
    )
    parts.remove()
    settle()
    return written


def _checked(options: Options) -> dict[str, type[Method]]:
    for option, value, known in (
        ("max-act-from", options.max_act_from, SOURCES),
        ("executor", options.executor, EXECUTORS),
        ("normalise", options.normalise, NORMALISATIONS),
    ):
        if value not in known:
            raise HarnessError(f"--{option} {value}: {meant(value, known)}")
    for name in ("batch_size", "shard_size", "seeds"):
        if getattr(options, name) < 1:
            raise HarnessError(f"--{name.replace('_', '-')} is at least 1")
    kinds = {name: find(name) for name in options.methods}
    if not kinds:
        raise HarnessError("--methods names no method")
    for name in options.settings:
        if name not in kinds:
            raise HarnessError(f"--set {name}.…: {name} is not among --methods")
    for name, kind in kinds.items():
        options.settings_of(kind)
        if kind.uses_model and (options.model is None or options.layer is None):
            raise HarnessError(f"{name} needs --model and --layer")
    if options.normalise != NONE and not any(kind.normalises for kind in kinds.values()):
        able = ", ".join(name for name in NAMES if find(name).normalises)
        raise HarnessError(
            f"--normalise {options.normalise} is for {able}, which learn from states alone; "
            f"--methods names none of them"
        )
    if options.seeds > 1 and not any(len(seeds_of(kind, options)) > 1 for kind in kinds.values()):
        raise HarnessError(
            f"--seeds {options.seeds}: none of {', '.join(kinds)} has vectors that depend on a seed"
        )
    return kinds


def _recipe(
    options: Options, kinds: Mapping[str, type[Method]], found: ConceptData
) -> dict[str, Any]:
    settings = {name: asdict(options.settings_of(kind)) for name, kind in kinds.items()}
    recipe: dict[str, Any] = {
        "numerics": NUMERICS,
        "methods": list(kinds),
        "settings": {name: own for name, own in settings.items() if own},
        "data_sha256": found.sha256,
    }
    if any(kind.uses_model for kind in kinds.values()):
        assert options.model is not None
        sha = content_of(options.model)
        recipe |= {
            "model": sha or f"{options.model}@{options.revision}",
            "layer": options.layer,
            "dtype": options.dtype,
            "max_act_from": options.max_act_from,
            "seed": options.seed,
        }
        if options.add_bos_token is not None:
            recipe["add_bos_token"] = options.add_bos_token
    if options.seeds > 1:
        recipe["seeds"] = options.seeds
    if options.normalise != NONE:
        recipe["normalise"] = options.normalise
    plain: dict[str, Any] = json.loads(json.dumps(recipe))  # as it comes back from the manifest
    return plain


def _facts(options: Options, trainer: ShardTrainer, recipe: Mapping[str, Any]) -> dict[str, Any]:
    reader = trainer.reader
    local = Path(resolved(options.model or "")).expanduser().is_dir()
    return {
        "model": {
            "name": options.model,
            "revision": commit_of(resolved(options.model or ""), options.revision),
            "sha256": recipe["model"] if local else None,
            "hidden_size": width_of(reader.model),
            "dtype": str(next(reader.model.parameters()).dtype).removeprefix("torch."),
        },
        "layer": reader.layer,
        "site": "block output",
        "prefix": reader.prefix,
        "chat": reader.chat,
        "bos": reader.bos,
        "add_bos_token": options.add_bos_token,
        "max_act_from": recipe["max_act_from"],
        "seed": recipe["seed"],
    }


def _joined(
    options: Options, kinds: Mapping[str, type[Method]], parts: Parts, found: ConceptData
) -> dict[str, Entry]:
    """Every method's shards as one."""
    shards = range(options.n_shards(found))
    units: Mapping[str, list[Any]] = {}
    if any(kind.kind == VECTORS for kind in kinds.values()):
        units = Method.join([parts.get(shard, MAX_ACT) for shard in shards]).each
    over: Mapping[str, list[Any]] = {}
    if options.seeds > 1:
        over = Method.join([parts.get(shard, SPREAD) for shard in shards]).each
    entries = {}
    for name, kind in kinds.items():
        stored, files = Stored(tensors={}), {}
        if kind.kind == WEIGHTS:
            files = _files(options, kind, parts, found)
        else:
            stored = kind.join([parts.get(shard, name) for shard in shards])
        facts: dict[str, Any] = {**stored.facts, **stored.each}
        if options.normalise_of(kind) != NONE:
            facts["normalise"] = options.normalise
        if kind.kind == VECTORS:
            facts |= {key: units[f"{name}.{key}"] for key in ("max_act", "max_act_origin")}
            facts["activation"] = kind.activation
        seeds = seeds_of(kind, options)
        if len(seeds) > 1:
            facts["seeds"] = spread(seeds, over[f"{name}.auroc"], over[f"{name}.cosine"])
        if kind.factors is not None:
            facts["factors"] = list(kind.factors)
        settings = asdict(options.settings_of(kind))
        facts |= {"settings": settings} if settings else {}
        entries[name] = Entry(kind.kind, stored.tensors, stored.values, facts, files)
    return entries


def _files(
    options: Options, kind: type[Method], parts: Parts, found: ConceptData
) -> dict[int, Path]:
    """The finished file of each concept that a method of the kind weights covers."""
    covered = kind.covered(found.concepts, options.settings_of(kind))
    shard = {concept.id: at // options.shard_size for at, concept in enumerate(found.concepts)}
    return {c.id: parts.path(shard[c.id], weights_of(kind, c)) for c in covered}
