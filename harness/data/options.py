"""A run's options: read once from ``--metadata`` and ``--model_args``, then handed down.

A plugin declares them as one frozen dataclass whose fields' aliases are the keys of the run:

    @dataclass(frozen=True, kw_only=True, config=keyed("fruit", shared=("steering",)))
    class RunOptions:
        ripe: bool = True            # --metadata fruit_ripe=false
        steering: str | None = None  # shared by several plugins: the bare name

and ``read_options(RunOptions, metadata, prefix="fruit_")`` makes it. lm-eval merges the model's
arguments and those of other plugins into the same mapping, so a key that is nobody's is let pass,
unless it begins like the plugin's own or is nearly one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import DataError, meant
from harness.secrets import opened

T = TypeVar("T")
Prefix = str | tuple[str, ...] | None


def keyed(plugin: str, *, shared: Collection[str] = ()) -> ConfigDict:
    """The pydantic configuration of a plugin's options: field ``x`` is the key ``<plugin>_x``.

    Args:
        plugin: The prefix, without its underscore.
        shared: Fields whose key is their bare name.
    """
    return ConfigDict(
        alias_generator=lambda name: name if name in shared else f"{plugin}_{name}",
        validate_by_name=True,
        arbitrary_types_allowed=True,
        extra="forbid",
    )


def read_options(kind: type[T], given: Mapping[str, Any], *, prefix: Prefix = None) -> T:
    """A run's options of one plugin.

    Args:
        kind: A pydantic dataclass, its configuration made by ``keyed``.
        given: The run's metadata.
        prefix: What all keys of the plugin begin with, or several such, if nobody else's do.

    Raises:
        DataError: A key is misspelt, or a value is none that its field takes; one line.
    """
    given = opened(given)
    keys = [_key(kind, field.name) for field in fields(kind)]  # type: ignore[arg-type]
    refuse_misspelt(given, keys, prefix=prefix)
    try:
        return TypeAdapter(kind).validate_python({k: v for k, v in given.items() if k in keys})
    except ValidationError as cause:
        first = cause.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        said = first["msg"].removeprefix("Value error, ")
        raise DataError(f"--metadata {key}={first['input']}: {said}") from cause


def _key(kind: Any, name: str) -> str:
    alias: Any = kind.__pydantic_config__.get("alias_generator")
    return str(alias(name)) if alias else name


def refuse_misspelt(
    metadata: Mapping[str, Any],
    known: Sequence[str],
    *,
    prefix: Prefix = None,
) -> None:
    """Refuse a key that is nearly a known one, or that has the prefix and is not known.

    Args:
        metadata: A task's run-level metadata.
        known: Keys that have a meaning.
        prefix: What all keys of a kind begin with, or several such, if nobody else's do.

    Raises:
        DataError: Names the key and what it is nearly, else what there is.
    """
    for key in metadata:
        near = get_close_matches(key, known, n=1, cutoff=0.85)
        if key not in known and (near or (prefix is not None and key.startswith(prefix))):
            rest = meant(key, known, "there are", near=0.85)
            raise DataError(f"--metadata {key}=…: there is no such key; {rest}")
