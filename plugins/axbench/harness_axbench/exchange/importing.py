"""Vectors from elsewhere become a dictionary like a trained one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from harness import ArtefactError, HarnessError
from harness.artefacts.checksums import digest
from harness.artefacts.hub import reason
from harness.errors import meant
from harness_axbench.dictionary.folder import Dictionary, kept, write
from harness_axbench.exchange.formats import (
    AUTO,
    AXBENCH,
    FORMATS,
    LM_EVAL,
    REPENG,
    Brought,
    Options,
)

if TYPE_CHECKING:
    from harness_axbench.exchange.shell import Shell


def bring_in(options: Options) -> Dictionary:
    """Write a dictionary of vectors from elsewhere, or return the equal one already there.

    Raises:
        HarnessError: An option is missing or wrong, or the model cannot be read.
        ArtefactError: The files are missing, damaged, refused, or do not fit the model.
    """
    from harness_axbench.exchange import control_vector, published, steer_file
    from harness_axbench.exchange.shell import Shell

    if options.format not in FORMATS:
        raise HarnessError(f"--format {options.format}: {meant(options.format, FORMATS)}")
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
        raise ArtefactError(f"--from {options.source}: no such file or folder")
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
        raise ArtefactError(
            f"{options.source}: no such folder here, and the hub does not give it: "
            f"{reason(cause, options.source)}. Or pass a local copy"
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


def _write(brought: Brought, shell: Shell, form: str, options: Options) -> Dictionary:
    digests = {path.name: digest(path) for path in brought.files}
    recipe = {
        "imported": form,
        "files": digests,
        "methods": list(brought.methods),
        "model": shell.sha256 or f"{shell.name}@{options.revision}",
        "layer": brought.layer,
        "concepts": [concept.text for concept in brought.concepts],
    }
    present = kept(options.out, recipe)
    if present is not None:
        return present
    whole = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()
    facts = shell.facts(brought.layer)
    facts["data"] = {"source": f"imported from {options.source}", "sha256": whole}
    return write(
        options.out,
        recipe=recipe,
        facts=facts,
        concepts=brought.concepts,
        methods=brought.methods,
    )
