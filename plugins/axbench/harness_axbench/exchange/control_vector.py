"""Control vectors of repeng and llama.cpp: GGUF files of one direction a layer.

    general.architecture      "controlvector"
    controlvector.model_hint  "mistral"
    direction.14              [hidden], added to the output of block 14, 0-indexed

repeng adds coefficient · direction, so a factor here is repeng's coefficient: max_act is 1. The
dictionary takes one layer; repeng's own controls several at once.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from harness import ArtefactError, HarnessError
from harness.artefacts.reading import read_bytes
from harness.errors import one_line
from harness_axbench.exchange.formats import Brought, Options, entry, named, one_layer
from harness_axbench.exchange.gguf_files import parse
from harness_axbench.exchange.pt_files import vector
from harness_axbench.exchange.steer_file import concepts_of, files_in

ARCHITECTURE = "controlvector"
METHOD = "repeng"
MAX_ACT = (1.0, "missing")
LARGEST = 2**24
"""Bytes of a file, at most: 126 layers of 16,384 numbers are half of it."""
_DIRECTION = re.compile(r"direction\.([0-9]{1,5})")


def read(source: Path, options: Options) -> Brought:
    """Read a control vector, or a folder of them, one concept a file.

    Raises:
        ArtefactError: A file is damaged or holds something else, or the files have other widths.
        HarnessError: The layer has to be named, or the package ``gguf`` is missing.
    """
    import torch

    gguf = _gguf()
    files = files_in(source, (".gguf",), options)
    found = [_directions(gguf, path) for path in files]
    layers = [one_layer(each, options.layer, path) for each, path in zip(found, files, strict=True)]
    if len(set(layers)) > 1:
        raise ArtefactError(f"{source}: files of the layers {sorted(set(layers))}; one is needed")
    rows = [each[layers[0]] for each in found]
    if len({row.shape for row in rows}) > 1:
        raise ArtefactError(f"{source}: vectors of lengths {sorted({len(row) for row in rows})}")
    method = named(options.method or METHOD)
    made = entry({"weight": torch.stack(rows)}, [MAX_ACT] * len(files))
    return Brought(concepts_of(files, options), layers[0], {method: made}, tuple(files))


def _gguf() -> Any:
    try:
        return import_module("gguf")
    except ImportError as cause:
        raise HarnessError(
            "control vectors need the package gguf; install it with: pip install "
            "'paperharness[gguf]'"
        ) from cause


def _directions(gguf: Any, path: Path) -> dict[int, Any]:
    """The vectors of a file, by layer."""
    import torch

    if not path.is_file():
        raise ArtefactError(f"{path}: no such file")
    try:
        file = parse(gguf, read_bytes(path, LARGEST))
        named = {
            m[1]: own for name, own in file.tensors.items() if (m := _DIRECTION.fullmatch(name))
        }
        found = {
            int(number): torch.tensor(own.load()).reshape(own.shape)
            for number, own in named.items()
        }
    except Exception as cause:  # gguf checks little: damage surfaces as any of numpy's errors
        said = one_line(getattr(cause, "strerror", None) or cause, 200)
        raise ArtefactError(f"{path} is damaged, truncated, or no GGUF file ({said})") from cause
    kind = file.entries.get("general.architecture")
    if kind != ARCHITECTURE:
        raise ArtefactError(
            f"{path} is no control vector: its architecture is {one_line(repr(kind), 80)}"
        )
    if not found:
        raise ArtefactError(f"{path}: no tensor direction.<layer> in it")
    return {layer: vector(own, f"{path}: direction.{layer}") for layer, own in found.items()}
