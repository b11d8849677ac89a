"""Dictionaries as the AxBench project publishes and its code saves them (arXiv 2501.17148).

Published on the hub, one folder a layer, one method a repository::

    pyvene/gemma-reft-r1-2b-it-res
      l20/weight.pt       [concepts, hidden]
      l20/bias.pt         [concepts]
      l20/metadata.jsonl  {"concept_id": 0, "concept": "…", "ref": "…", "concept_genres_map": {…}}
      l20/acts.json       {"max_act": {"0": 12.5, …}, …}

Saved by the reference implementation, all methods in one folder::

    train/config.json                  {"model_name": "…", "layer": 20, "component": "res"}
    train/<Method>_weight.pt           [concepts, hidden]
    train/<Method>_bias.pt             [concepts]
    train/ or generate/metadata.jsonl
    inference/latent_….parquet         concept_id, <Method>_max_act, one row a text

Row c of a weight is the concept of id c where the ids are 0 … C − 1, else the c-th line's. max_act
is the largest of a concept; as in the reference ≤ 0 becomes 50, and 1 where there is none.

The bias of a LinearProbe is left out: the reference draws it at random and never reads it. Those of
other methods are kept; Random's is drawn too, and read.

Deviation: rows are not normalised anew. The reference normalises before its last optimiser step, so
published rows are of length one only nearly.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness import ArtefactError, DataError, HarnessError, read_table
from harness.artefacts.reading import fitting, read_json, regular
from harness.errors import one_line, shown
from harness_axbench.data.concepts import LARGEST_ID, Concept
from harness_axbench.dictionary.folder import Entry
from harness_axbench.dictionary.kinds import VECTORS
from harness_axbench.dictionary.units import MISSING, max_act
from harness_axbench.exchange.formats import (
    UNKNOWN_GENRE,
    Brought,
    Options,
    entry,
    named,
    one_layer,
)
from harness_axbench.exchange.pt_files import dense, load_pt

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

METHODS = {
    "DiffMean": "diffmean",
    "PCA": "pca",
    "LAT": "lat",
    "LinearProbe": "probe",
    "SteeringVector": "ssv",
    "LsReFT": "reft_r1",
    "ReFT-r1": "reft_r1",
    "PreferenceVector": "reps",
    "Random": "random",
}
"""Class names in the reference's files → names of methods."""

_WEIGHT, _BIAS, _METADATA, _ACTS, _CONFIG = (
    "weight.pt",
    "bias.pt",
    "metadata.jsonl",
    "acts.json",
    "config.json",
)
_ROWS = 2**14  # of a table in memory at once
_LAYER = re.compile(r"l(?:ayer_?)?(\d+)")


def is_weight(path: Path) -> bool:
    """Whether a file is a weight by its name."""
    return path.name == _WEIGHT or path.name.endswith(f"_{_WEIGHT}")


def weight_files(folder: Path) -> list[Path]:
    """The weights in a folder, in its ``train/``, or in its folders of layers."""
    places = [folder, folder / "train", *_layer_folders(folder).values()]
    return [path for place in places for path in sorted(place.glob("*.pt")) if is_weight(path)]


def _layer_folders(folder: Path) -> dict[int, Path]:
    found = {}
    for path in sorted(folder.iterdir()):
        match = _LAYER.fullmatch(path.name)
        if match and (path / _WEIGHT).is_file():
            found[int(match.group(1))] = path
    return found


def model_of(source: Path) -> str | None:
    """The model that the reference's ``config.json`` names."""
    return _config(_home(source)).model_name


def _home(source: Path) -> Path:
    """The folder of the files: ``train/`` where that is where they are."""
    folder = source.parent if source.is_file() else source
    inner = folder / "train"
    return inner if inner.is_dir() and any(is_weight(p) for p in inner.glob("*.pt")) else folder


_Id = Annotated[int, Field(ge=0, le=LARGEST_ID)]
_Acts = dict[_Id, Annotated[float, Field(ge=-1e30, le=1e30)]]


@dataclass(frozen=True)
class _Config:
    """``config.json``, where it is the reference's: others, such as models', name no layer."""

    model_name: str | None = None
    layer: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True)
class _Line:
    """A line of ``metadata.jsonl``."""

    concept_id: _Id
    concept: str
    ref: str | None = None
    concept_genres_map: dict[str, list[str]] | None = None

    @property
    def genre(self) -> str:
        """The first of the concept's genres."""
        genres = (self.concept_genres_map or {}).get(self.concept)
        return genres[0] if genres else UNKNOWN_GENRE


def _config(folder: Path) -> _Config:
    path = folder / _CONFIG
    found = read_json(path) if path.is_file() else {}
    given = isinstance(found, dict) and "layer" in found
    return fitting(_Config, found, path, ArtefactError) if given else _Config()


def read(source: Path, options: Options) -> Brought:
    """Read published or saved dictionaries.

    Args:
        source: A weight, or a folder that holds some.
        options: Layer and method to take, where there are several.

    Raises:
        ArtefactError: A file is missing, damaged, refused, or does not go with the others.
        HarnessError: The layer or the method has to be named.
    """
    folder, layer = _layer_and_folder(source, options)
    chosen = _chosen(source, folder, options)
    metadata = _metadata_file(folder)
    concepts = _concepts(metadata)
    entries, files = {}, [metadata]
    for name, weight_file in chosen.items():
        weight, bias, used = _tensors(name, weight_file, len(concepts), metadata)
        acts, acts_file = _acts(weight_file)
        tensors = {"weight": weight}
        if bias is not None and bool((bias != 0).any()):
            tensors["bias"] = bias
        units = [_max_act(acts.get(concept.id), acts_file) for concept in concepts]
        entries[name] = _as_method(name, tensors, units)
        files += [*used, *([acts_file] if acts_file else [])]
    return Brought(concepts, layer, entries, tuple(dict.fromkeys(files)))


def _layer_and_folder(source: Path, options: Options) -> tuple[Path, int]:
    folder = _home(source)
    below = {} if source.is_file() else _layer_folders(folder)
    if below and not (folder / _WEIGHT).is_file():
        layer = one_layer(below, options.layer, source)
        return below[layer], layer
    match = _LAYER.fullmatch(folder.name)
    said = int(match.group(1)) if match else _config(folder).layer
    if said is None:
        if options.layer is None:
            raise HarnessError(f"{source} does not say its layer; pass --layer")
        return folder, options.layer
    if options.layer not in (None, said):
        raise HarnessError(f"{source} is of layer {said}, not of --layer {options.layer}")
    return folder, said


def _chosen(source: Path, folder: Path, options: Options) -> dict[str, Path]:
    """The weights to read, by method."""
    files = [source] if source.is_file() else sorted(filter(is_weight, folder.glob("*.pt")))
    if not files:
        raise ArtefactError(f"{folder}: no {_WEIGHT} and no <Method>_{_WEIGHT} in it")
    known = {METHODS[_prefix(path)]: path for path in files if _prefix(path) in METHODS}
    if options.method is None:
        unknown = [path for path in files if _prefix(path) not in METHODS]
        if not known:
            raise HarnessError(
                f"{unknown[0]} does not say which method it is from; pass --method (reft_r1 for "
                f"pyvene/gemma-reft-r1-…)"
            )
        for path in unknown:
            log.warning("%s is left out: no method of that name is known", shown(str(path)))
        return known
    method = named(options.method)
    if method in known:
        return {method: known[method]}
    if len(files) == 1:
        return {method: files[0]}
    raise HarnessError(
        f"{source} has no {method}; it has {', '.join(sorted(known)) or 'none known'}"
    )


def _prefix(path: Path) -> str:
    return path.name.removesuffix(_WEIGHT).removesuffix("_")


def _metadata_file(folder: Path) -> Path:
    places = [folder / _METADATA, folder.parent / _METADATA, folder.parent / "generate" / _METADATA]
    for path in places:
        if path.is_file():
            return path
    raise ArtefactError(f"{folder}: no {_METADATA} there; it names the concepts")


def _concepts(metadata: Path) -> tuple[Concept, ...]:
    try:
        rows = read_table(metadata, ("concept_id", "concept"))
    except DataError as cause:
        raise ArtefactError(f"{metadata} is damaged: {cause}") from cause
    lines = [
        fitting(_Line, row, f"{metadata}, row {number}", ArtefactError)
        for number, row in enumerate(rows, start=1)
    ]
    concepts = [Concept(own.concept_id, own.concept, own.genre, own.ref or "") for own in lines]
    ids = [concept.id for concept in concepts]
    if len(set(ids)) < len(ids):
        raise ArtefactError(
            f"{metadata}: concept {max(ids, key=ids.count)} is there more than once"
        )
    if sorted(ids) == list(range(len(ids))):
        concepts.sort(key=lambda concept: concept.id)
    return tuple(concepts)


def _tensors(
    name: str, weight_file: Path, n_concepts: int, metadata: Path
) -> tuple[Tensor, Tensor | None, list[Path]]:
    import torch

    weight = load_pt(weight_file)
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        raise ArtefactError(f"{weight_file}: one tensor [concepts, hidden] is needed")
    if len(weight) != n_concepts:
        raise ArtefactError(
            f"{weight_file} has {len(weight)} vectors, {metadata} names {n_concepts} concepts"
        )
    bias_file = weight_file.with_name(weight_file.name.removesuffix(_WEIGHT) + _BIAS)
    if name == "probe" and bias_file.is_file():
        log.warning("%s is left out: no LinearProbe of the reference reads its bias", bias_file)
    if name == "probe" or not bias_file.is_file():
        return dense(weight, str(weight_file)), None, [weight_file]
    bias = load_pt(bias_file)
    if not isinstance(bias, torch.Tensor) or bias.shape != (n_concepts,):
        raise ArtefactError(f"{bias_file}: one tensor [{n_concepts}] is needed")
    shift = dense(bias, str(bias_file))
    if not bool(torch.isfinite(shift).all()):
        raise ArtefactError(f"{bias_file} holds values that are not finite")
    return dense(weight, str(weight_file)), shift, [weight_file, bias_file]


def _acts(weight_file: Path) -> tuple[dict[int, float], Path | None]:
    """max_act by concept id, and the file it comes from."""
    folder = weight_file.parent
    path = folder / _ACTS
    if path.is_file():
        found = read_json(path)
        given = found.get("max_act", found) if isinstance(found, dict) else found
        return fitting(_Acts, given, f"{path}: max_act", ArtefactError), path
    column = f"{_prefix(weight_file)}_max_act"
    for path in sorted((folder.parent / "inference").glob("latent_*.parquet")):
        best = _largest(path, column)
        if best is not None:
            return best, path
    return {}, None


def _largest(path: Path, column: str) -> dict[int, float] | None:
    """The largest value of a column for each concept; None if the table has no such column."""
    import pyarrow.parquet

    best: dict[Any, Any] = {}
    try:
        with regular(path) as content, pyarrow.parquet.ParquetFile(content) as file:
            if column not in file.schema_arrow.names:
                return None
            _check_numbers(file.schema_arrow, ("concept_id", column))
            for batch in file.iter_batches(_ROWS, columns=["concept_id", column]):
                table = pyarrow.Table.from_batches([batch]).group_by("concept_id")
                for row in table.aggregate([(column, "max")]).to_pylist():
                    own, value = row["concept_id"], row[f"{column}_max"]
                    if value is not None:
                        best[own] = max(best.get(own, value), value)
    except Exception as cause:  # pyarrow has its own types
        raise ArtefactError(f"{path} is damaged ({one_line(cause, 200)})") from cause
    return fitting(_Acts, best, f"{path}: {column}", ArtefactError)


def _check_numbers(schema: Any, columns: tuple[str, ...]) -> None:
    from pyarrow import types

    for name in columns:
        kind = schema.field(name).type
        if not (types.is_integer(kind) or types.is_floating(kind)):
            raise ValueError(f"column {name} holds {kind}, no numbers")


def _as_method(name: str, tensors: Mapping[str, Tensor], units: list[tuple[float, str]]) -> Entry:
    """An entry that scores and steers as the method of that name does."""
    from harness_axbench.methods import NAMES, find

    if name not in NAMES:
        return entry(tensors, units)
    kind = find(name)
    if kind.kind != VECTORS:
        raise HarnessError(f"{name} leaves no vectors but {kind.kind}; pass another --method")
    facts: dict[str, Any] = {"activation": kind.activation}
    if kind.factors is not None:
        facts["factors"] = list(kind.factors)
    if kind.raw_factors:
        units = [(MISSING, "raw factors")] * len(units)
    return entry(tensors, units, **facts)


def _max_act(value: float | None, source: Path | None) -> tuple[float, str]:
    if value is None or source is None:
        return MISSING, "missing"
    return max_act(value, source.name)
