"""Dictionaries from elsewhere, and to elsewhere.

    axbench   weight.pt, bias.pt, metadata.jsonl, acts.json, as published      published.py
    lm-eval   the .pt steer file of lm-eval's own model ``steered``            steer_file.py
    repeng    a GGUF control vector, as repeng and llama.cpp write it          control_vector.py

Vectors are kept as published, neither scaled nor turned. ``.pt`` files are loaded with
``weights_only=True``; one that holds code is refused. What an import makes is a dictionary like a
trained one, and an equal one that is already there is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checksums import digest
from harness.errors import ArtefactError, HarnessError
from harness_axbench import dictionary
from harness_axbench.data import Concept
from harness_axbench.directions import LINEAR

if TYPE_CHECKING:
    from harness_axbench.exchange.shell import Shell

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
    methods: Mapping[str, dictionary.Entry]
    files: tuple[Path, ...]


def bring_in(options: Options) -> dictionary.Dictionary:
    """Write a dictionary of vectors from elsewhere, or return the equal one already there.

    Raises:
        HarnessError: An option is missing or wrong, or the model cannot be read.
        ArtefactError: The files are missing, damaged, refused, or do not fit the model.
    """
    from harness_axbench.exchange import control_vector, published, steer_file
    from harness_axbench.exchange.shell import Shell

    if options.format not in FORMATS:
        raise HarnessError(f"--format is one of {', '.join(FORMATS)}")
    source = located(options)
    form = recognised(source) if options.format == AUTO else options.format
    model = options.model or (published.model_of(source) if form == AXBENCH else None)
    if model is None:
        raise HarnessError(f"{options.source} does not name its model; pass --model")
    shell = Shell.load(model, options.revision)
    if form == AXBENCH:
        brought = published.read(source, options)
    elif form == REPENG:
        brought = control_vector.read(source, options)
    else:
        brought = steer_file.read(source, options, shell)
    _check(brought, shell, options.source)
    return _write(brought, shell, form, options)


def located(options: Options) -> Path:
    """The file or folder that is meant, fetched from the hub where it is not here.

    Raises:
        ArtefactError: It is nowhere.
    """
    path = Path(options.source).expanduser()
    if path.exists():
        return path
    if options.source.count("/") != 1 or options.source.startswith((".", "/", "~")):
        raise ArtefactError(f"{options.source}: no such file or folder")
    from huggingface_hub import snapshot_download

    place = "" if options.layer is None else f"l{options.layer}/"
    kinds = ("*.pt", "*.json", "*.jsonl", "*.gguf")
    try:
        folder = snapshot_download(
            options.source,
            revision=options.revision,
            allow_patterns=[f"{place}{kind}" for kind in kinds],
        )
    except Exception as cause:  # the hub's client raises dozens of types
        reason = " ".join(str(cause).split())[:200]
        raise ArtefactError(
            f"{options.source}: no such folder here, and the hub does not give it ({reason}); "
            f"pass a local copy"
        ) from cause
    return Path(folder)


def recognised(source: Path) -> str:
    """The format of a file or folder, by its files' names and, for one ``.pt`` file, its content.

    Raises:
        HarnessError: None of the formats, or more than one.
    """
    from harness_axbench.exchange import published, steer_file

    if source.is_file():
        if source.suffix == ".gguf":
            return REPENG
        if source.suffix in steer_file.SUFFIXES:
            return AXBENCH if published.is_weight(source) else LM_EVAL
        raise HarnessError(f"{source}: a .pt or .gguf file is needed, or a folder of them")
    weights = published.weight_files(source)
    steer = [p for s in steer_file.SUFFIXES for p in source.glob(f"*{s}") if not weights]
    found = {AXBENCH: weights, REPENG: list(source.glob("*.gguf")), LM_EVAL: steer}
    kinds = [kind for kind, files in found.items() if files]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise HarnessError(f"{source} holds files of {' and '.join(kinds)}; pass --format")
    raise HarnessError(
        f"{source}: no dictionary in it: no …weight.pt (AxBench), no .pt (lm-eval), no .gguf "
        f"(repeng)"
    )


def entry(
    tensors: Mapping[str, Any], max_act: list[tuple[float, str]], **facts: Any
) -> dictionary.Entry:
    """A vector method's entry; it scores linearly where the facts do not say otherwise.

    Args:
        tensors: ``weight`` [concepts, hidden], and where there is one ``bias`` [concepts].
        max_act: max_act and its origin for each concept.
        **facts: Further entries of the manifest.
    """
    units = {"max_act": [a for a, _ in max_act], "max_act_origin": [o for _, o in max_act]}
    return dictionary.Entry(dictionary.VECTORS, tensors, {}, {"activation": LINEAR} | units | facts)


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


def _check(brought: Brought, shell: Shell, source: str) -> None:
    import torch

    shell.check_layer(brought.layer, source)
    for name, made in brought.methods.items():
        weight = made.tensors["weight"]
        if weight.shape[1] != shell.hidden_size:
            raise ArtefactError(
                f"{source}: the vectors of {name} have {weight.shape[1]} entries; the hidden size "
                f"of {shell.name} is {shell.hidden_size}"
            )
        for row, concept in zip(weight, brought.concepts, strict=True):
            if not bool(torch.isfinite(row).all()):
                raise ArtefactError(
                    f"{source}: the vector of {name} for concept {concept.id} "
                    f"({concept.text!r}) holds values that are not finite"
                )


def _write(brought: Brought, shell: Shell, form: str, options: Options) -> dictionary.Dictionary:
    digests = {path.name: digest(path) for path in brought.files}
    recipe = {
        "imported": form,
        "files": digests,
        "methods": list(brought.methods),
        "model": shell.sha256 or f"{shell.name}@{options.revision}",
        "layer": brought.layer,
        "concepts": [concept.text for concept in brought.concepts],
    }
    present = dictionary.kept(options.out, recipe)
    if present is not None:
        return present
    whole = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()
    facts = shell.facts(brought.layer)
    facts["data"] = {"source": f"imported from {options.source}", "sha256": whole}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return dictionary.write(
        options.out,
        recipe=recipe,
        facts=facts,
        concepts=brought.concepts,
        methods=brought.methods,
    )
