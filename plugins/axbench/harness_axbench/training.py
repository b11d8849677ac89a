"""Train a dictionary, shard of concepts by shard of concepts, and put the shards together.

In one process, in the processes of ``accelerate launch``, or on Ray. Which of them makes no
difference to the dictionary; nor does the size of the shards, or a kill in between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness.checksums import fingerprint
from harness.errors import HarnessError
from harness_axbench import data, dictionary
from harness_axbench.data import Concept, ConceptData
from harness_axbench.dictionary import VECTORS, WEIGHTS
from harness_axbench.executors import EXECUTORS, in_charge, run, settle
from harness_axbench.loading import resolved, width_of
from harness_axbench.methods import Method, Stored, find
from harness_axbench.parts import MAX_ACT, Parts
from harness_axbench.sharding import ShardTrainer, weights_of

SOURCES = ("eval", "train")
SHARD_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to train, on what, and where it goes.

    Attributes:
        methods: Names of methods.
        out: The dictionary's folder.
        model: Model id or path, or ``testbed:NAME``; not needed for methods that score texts.
        layer: The block, 0-indexed; not needed for methods that score texts.
        metadata: Data switches, as ``--metadata`` has them (``axbench_data``, …).
        settings: Settings of methods that differ from the paper's, by method and name.
        max_act_from: ``eval`` or ``train``.
        batch_size: Texts a forward pass.
        shard_size: Concepts trained together; bounds memory.
        executor: ``local`` or ``ray``.
        workers: Ray's workers; 0 for one a GPU, or one a core.
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
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    max_act_from: str = "eval"
    batch_size: int = 8
    shard_size: int = SHARD_SIZE
    executor: str = "local"
    workers: int = 0
    device: str = "auto"
    dtype: str = "auto"
    revision: str = "main"
    seed: int = 42

    def settings_of(self, kind: type[Method]) -> Any:
        """A method's settings: the paper's, and what differs."""
        return settings_from(kind, self.settings.get(kind.name, {}))

    def shard(self, found: ConceptData, number: int) -> tuple[Concept, ...]:
        """The concepts of a shard."""
        return found.concepts[number * self.shard_size : (number + 1) * self.shard_size]

    def n_shards(self, found: ConceptData) -> int:
        """How many shards the concepts make."""
        return math.ceil(len(found.concepts) / self.shard_size)


def train(options: Options) -> dictionary.Dictionary:
    """Train the methods and write the dictionary, or return the equal one that is already there.

    Raises:
        HarnessError: An option is wrong, the data or the model cannot be used, or the folder holds
            something else.
    """
    options = replace(options, methods=list(dict.fromkeys(options.methods)))
    kinds = _checked(options)
    found = data.load(options.metadata)
    recipe = _recipe(options, kinds, found)
    present = dictionary.kept(options.out, recipe)
    if present is not None:
        return present
    options.out.parent.mkdir(parents=True, exist_ok=True)
    parts = Parts.beside(options.out, recipe)
    trainer = ShardTrainer(options, found, parts)
    run(trainer, range(options.n_shards(found)))
    if not in_charge():
        settle()
        return dictionary.read(options.out)
    stored = _joined(options, kinds, parts, found)
    facts: dict[str, Any] = {"layer": -1, "model": None, "prefix": 0, "chat": False}
    if any(kind.uses_model for kind in kinds.values()):
        facts = _facts(options, trainer, recipe)
    facts["data"] = {"source": str(found.source), "sha256": found.sha256}
    written = dictionary.write(
        options.out, recipe=recipe, facts=facts, concepts=found.concepts, methods=stored
    )
    parts.remove()
    settle()
    return written


def _checked(options: Options) -> dict[str, type[Method]]:
    if options.max_act_from not in SOURCES:
        raise HarnessError(f"--max-act-from is one of {', '.join(SOURCES)}")
    if options.executor not in EXECUTORS:
        raise HarnessError(f"--executor is one of {', '.join(EXECUTORS)}")
    for name in ("batch_size", "shard_size"):
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
    return kinds


def parse_settings(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Settings by method and name, of texts like ``reft_r1.lr=0.005``.

    Raises:
        HarnessError: A text is not of that form.
    """
    found: dict[str, dict[str, str]] = {}
    for text in given:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text)
        if not match:
            raise HarnessError(f"--set {text}: write METHOD.NAME=VALUE, such as reft_r1.lr=0.005")
        method, name, value = match.groups()
        found.setdefault(method, {})[name] = value
    return found


def settings_from(kind: type[Method], given: Mapping[str, Any]) -> Any:
    """A method's settings with some of them replaced; texts are read as the default's type.

    Raises:
        HarnessError: The method has no such setting, or the value has another type.
    """
    default = kind.settings()
    known = {f.name: getattr(default, f.name) for f in fields(default)}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise HarnessError(f"--set {kind.name}.{name}: {kind.name} has no such setting; {has}")
        read[name] = _value(f"{kind.name}.{name}", value, known[name])
    try:
        return replace(default, **read)
    except HarnessError as cause:
        raise HarnessError(f"--set {kind.name}: {cause}") from cause


def _value(name: str, value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(default, tuple):
            kind = type(default[0])
            return tuple(kind(part) for part in value.replace("+", ",").split(",") if part)
        return type(default)(value) if default is not None else value
    except (ValueError, KeyError) as cause:
        raise HarnessError(f"--set {name}={value}: write it like {default!r}") from cause


def _recipe(
    options: Options, kinds: Mapping[str, type[Method]], found: ConceptData
) -> dict[str, Any]:
    settings = {name: asdict(options.settings_of(kind)) for name, kind in kinds.items()}
    recipe: dict[str, Any] = {
        "methods": list(kinds),
        "settings": {name: own for name, own in settings.items() if own},
        "data_sha256": found.sha256,
    }
    if any(kind.uses_model for kind in kinds.values()):
        assert options.model is not None
        sha = fingerprint(resolved(options.model))
        recipe |= {
            "model": sha or f"{options.model}@{options.revision}",
            "layer": options.layer,
            "dtype": options.dtype,
            "max_act_from": options.max_act_from,
            "seed": options.seed,
        }
    # as it comes back from the manifest
    return dict(dictionary.plain(recipe))


def _facts(options: Options, trainer: ShardTrainer, recipe: Mapping[str, Any]) -> dict[str, Any]:
    reader = trainer.reader
    config: Any = reader.model.config
    local = Path(resolved(options.model or "")).expanduser().is_dir()
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


def _joined(
    options: Options, kinds: Mapping[str, type[Method]], parts: Parts, found: ConceptData
) -> dict[str, dictionary.Entry]:
    """Every method's shards as one."""
    shards = range(options.n_shards(found))
    units: Mapping[str, list[Any]] = {}
    if any(kind.kind == VECTORS for kind in kinds.values()):
        units = Method.join([parts.get(shard, MAX_ACT) for shard in shards]).each
    entries = {}
    for name, kind in kinds.items():
        stored, files = Stored(tensors={}), {}
        if kind.kind == WEIGHTS:
            files = _files(options, kind, parts, found)
        else:
            stored = kind.join([parts.get(shard, name) for shard in shards])
        facts: dict[str, Any] = {**stored.facts, **stored.each}
        if kind.kind == VECTORS:
            facts |= {key: units[f"{name}.{key}"] for key in ("max_act", "max_act_origin")}
            facts["activation"] = kind.activation
        if kind.factors is not None:
            facts["factors"] = list(kind.factors)
        settings = asdict(options.settings_of(kind))
        facts |= {"settings": settings} if settings else {}
        entries[name] = dictionary.Entry(kind.kind, stored.tensors, stored.values, facts, files)
    return entries


def _files(
    options: Options, kind: type[Method], parts: Parts, found: ConceptData
) -> dict[int, Path]:
    """The finished file of each concept that a method of the kind weights covers."""
    covered = kind.covered(found.concepts, options.settings_of(kind))
    shard = {concept.id: at // options.shard_size for at, concept in enumerate(found.concepts)}
    return {c.id: parts.path(shard[c.id], weights_of(kind, c)) for c in covered}
