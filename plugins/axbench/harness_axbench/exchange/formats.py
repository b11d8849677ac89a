"""What the formats share: what to import, and what a reader makes of some files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.directions import LINEAR
from harness_axbench.dictionary.folder import Entry
from harness_axbench.dictionary.kinds import VECTORS

AUTO, AXBENCH, LM_EVAL, REPENG = "auto", "axbench", "lm-eval", "repeng"
FORMATS = (AUTO, AXBENCH, LM_EVAL, REPENG)
UNKNOWN_GENRE = "unknown"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to import, for which model, and where it goes.

    Attributes:
        source: A file, a folder, or a repository on the hub (``owner/name``).
        out: The dictionary's folder.
        format: One of ``FORMATS``.
        model: Model id or path, or ``testbed:NAME``; needed where the files do not name it.
        layer: The block, 0-indexed; needed where the files do not say it, or hold several.
        method: Name of the method; needed where the files do not say it, or to take one of several.
        text: The concept, for a file of one vector; by default the file's name.
        revision: Revision of the model and of a source on the hub.
    """

    source: str
    out: Path
    format: str = AUTO
    model: str | None = None
    layer: int | None = None
    method: str | None = None
    text: str | None = None
    revision: str = "main"


@dataclass(frozen=True)
class Brought:
    """What a format's reader makes of some files.

    Attributes:
        concepts: The concepts, in the order of the vectors.
        layer: The block whose output the vectors live in.
        methods: What each method leaves in a dictionary.
        files: The files that were read.
    """

    concepts: tuple[Concept, ...]
    layer: int
    methods: Mapping[str, Entry]
    files: tuple[Path, ...]


def entry(tensors: Mapping[str, Any], max_act: list[tuple[float, str]], **facts: Any) -> Entry:
    """A vector method's entry; it scores linearly where the facts do not say otherwise.

    Args:
        tensors: ``weight`` [concepts, hidden], and where there is one ``bias`` [concepts].
        max_act: max_act and its origin for each concept.
        **facts: Further entries of the manifest.
    """
    units = {"max_act": [a for a, _ in max_act], "max_act_origin": [o for _, o in max_act]}
    return Entry(VECTORS, tensors, {}, {"activation": LINEAR} | units | facts)


def named(method: str) -> str:
    """A method's name, as it is given by ``--method``.

    Raises:
        HarnessError: It would make no good file name.
    """
    if not method.replace("_", "").replace("-", "").isalnum() or not method.isascii():
        raise HarnessError(f"--method {method!r}: letters, digits, - and _ only")
    return method


def one_layer(found: Mapping[int, Any], wanted: int | None, source: Path) -> int:
    """The layer to take: the one asked for, or the only one.

    Raises:
        HarnessError: There are several and none is asked for, or the one asked for is missing.
    """
    layers = ", ".join(str(layer) for layer in sorted(found))
    if wanted is None and len(found) == 1:
        return int(next(iter(found)))
    if wanted is None:
        raise HarnessError(f"{source} holds the layers {layers}; choose one with --layer")
    if wanted not in found:
        raise HarnessError(f"{source} has no layer {wanted}; it holds {layers}")
    return wanted
