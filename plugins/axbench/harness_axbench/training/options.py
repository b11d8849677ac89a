"""What training is asked to do, parsed once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness_axbench.activations.normalising import NONE
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.methods.base import Method
from harness_axbench.options import RunOptions

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
        run: Where the data come from, as a run says it.
        settings: Settings of methods that differ from the paper's, by method and name.
        normalise: How states are put on one scale for methods that learn from them alone: ``none``,
            ``unit`` or ``standardise``.
        max_act_from: ``eval`` or ``train``.
        batch_size: Texts a forward pass.
        shard_size: Concepts trained together; bounds memory.
        executor: ``local`` or ``ray``.
        workers: Ray's workers; 0 for one a GPU, or one a core.
        device: Torch device; ``auto`` takes a GPU where there is one.
        dtype: Weights' dtype; ``auto`` takes the checkpoint's.
        revision: The model's revision on the hub.
        add_bos_token: Whether a beginning-of-sequence token is put before texts, as lm-eval's
            argument of that name; None leaves it to the tokenizer.
        seed: Seed of the methods that draw random numbers.
        seeds: With how many seeds, from ``seed`` on, vectors that depend on it are learnt; those of
            the first are kept, of all the spread.
    """

    methods: Sequence[str]
    out: Path
    model: str | None = None
    layer: int | None = None
    run: RunOptions = field(default_factory=RunOptions)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    normalise: str = NONE
    max_act_from: str = "eval"
    batch_size: int = 8
    shard_size: int = SHARD_SIZE
    executor: str = "local"
    workers: int = 0
    device: str = "auto"
    dtype: str = "auto"
    revision: str = "main"
    add_bos_token: bool | None = None
    seed: int = 42
    seeds: int = 1

    def settings_of(self, kind: type[Method]) -> Any:
        """A method's settings: the paper's, and what differs."""
        return settings_from(kind, self.settings.get(kind.name, {}))

    def normalise_of(self, kind: type[Method]) -> str:
        """How states are put on one scale for a method."""
        return self.normalise if kind.normalises else NONE

    def shard(self, found: ConceptData, number: int) -> tuple[Concept, ...]:
        """The concepts of a shard."""
        return found.concepts[number * self.shard_size : (number + 1) * self.shard_size]

    def n_shards(self, found: ConceptData) -> int:
        """How many shards the concepts make."""
        return math.ceil(len(found.concepts) / self.shard_size)


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
