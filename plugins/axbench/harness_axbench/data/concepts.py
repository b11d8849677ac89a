"""AxBench's concept data: positives, shared negatives, detection rows, steering instructions.

Three tables. ``train_data`` has 72 positives a concept and 72 negatives a genre, shared by all its
concepts (concept_id −1). ``latent_eval_data`` has positives, negatives and hard negatives of each
concept. ``metadata.jsonl`` names the concepts; where it is missing (the hub's data sets have none)
the training positives name them. A row, from ``pyvene/axbench-concept10``, shortened:

    {"input": "Why do some people select private schools over public schools?",
     "output": "There are many reasons why …", "output_concept": "EEEEE", "concept_genre": "text",
     "category": "negative", "dataset_category": "instruction", "concept_id": -1}
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import DataError, Row, Source, find_table, from_hub, read_table
from harness.data.sources import three_ways
from harness.errors import one_line
from harness_axbench.options import HUB, PLUGIN, SUBSET, RunOptions

HUB_INSTRUCTIONS = "tatsu-lab/alpaca_eval"
TEXTS = ("input", "output", "output_concept", "concept_genre", "category")
COLUMNS = (*TEXTS, "concept_id")
INSTRUCTIONS_PER_CONCEPT = 10
LARGEST_ID = 2**32 - 1
"""Of a concept: its number seeds draws."""

# Where the two tables may lie below a folder: as files of our own naming, as the reference
# implementation writes them, as the hub's data sets have them.
_LAYOUTS = (
    ("train_data", "latent_eval_data"),
    ("generate/train_data", "inference/latent_eval_data"),
    ("train/data", "test/data"),
)


@dataclass(frozen=True)
class Concept:
    """A concept: its number in the data set, its description, and its genre.

    ``ref`` says where the description comes from, such as the address of a feature of a sparse
    autoencoder; empty where the data do not say.
    """

    id: int
    text: str
    genre: str
    ref: str = field(default="", repr=False)


@dataclass(frozen=True)
class ConceptData:
    """A concept data set, checked: every concept has positives and its genre has negatives."""

    source: Source
    concepts: tuple[Concept, ...]
    train: Sequence[Row]
    evaluation: Sequence[Row]

    @cached_property
    def sha256(self) -> str:
        """Content hash of concepts and rows."""
        digest = hashlib.sha256(repr(self.concepts).encode())
        if any(concept.ref for concept in self.concepts):
            digest.update(repr([concept.ref for concept in self.concepts]).encode())
        for row in [*self.train, *self.evaluation]:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def positives(self, concept: Concept) -> list[Row]:
        """Training positives of a concept."""
        return self._positives.get(concept.id, [])

    def negatives(self, genre: str) -> list[Row]:
        """Training negatives that all concepts of a genre share."""
        return self._negatives.get(genre, [])

    @cached_property
    def _positives(self) -> dict[int, list[Row]]:
        rows = [row for row in self.train if row["category"] == "positive"]
        return _by(rows, "concept_id")

    @cached_property
    def _negatives(self) -> dict[str, list[Row]]:
        rows = [row for row in self.train if row["category"] == "negative"]
        return _by(rows, "concept_genre")


def _by(rows: Sequence[Row], key: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def load(run: RunOptions) -> ConceptData:
    """The concept data a run asks for.

    Raises:
        DataError: The source is unreachable, a column is missing, a concept has no positives, or
            its genre has no negatives.
    """
    source = run.data
    if source.kind == "testbed":
        return _from_testbed(source)
    if source.kind == "folder":
        return _from_folder(source, source.path)
    folder = from_hub(source, PLUGIN, lambda: _download(source.location, run.subset))
    named = Source("hub", f"{source.location}/{run.subset}", source.key)
    return _from_folder(named, folder)


def _download(repository: str, subset: str) -> Path:
    """Fetch one subset; the hub calls ``prod_2b_l10_v1`` by the folder ``2b/l10``."""
    from huggingface_hub import snapshot_download

    short = subset.removeprefix("prod_").removesuffix("_v1").replace("_it_", "_")
    inner = short.replace("_", "/")
    root = snapshot_download(repository, repo_type="dataset", allow_patterns=[f"{inner}/*"])
    folder = Path(root) / inner
    if not folder.is_dir():
        raise DataError(
            f"{repository} has no folder {inner!r}; choose another with axbench_subset=… or "
            f"--subset (such as {SUBSET} for 2b/l10)"
        )
    return folder


def _from_testbed(source: Source) -> ConceptData:
    from harness.testbed.english import corpus

    named = [dict(row) for row in corpus.concept_metadata()]
    train = [dict(row) for row in corpus.concept_train()]
    evaluation = [dict(row) for row in corpus.concept_eval()]
    return _checked(source, named, train, evaluation)


def _from_folder(source: Source, folder: Path) -> ConceptData:
    if not folder.is_dir():
        raise DataError(f"{source}: AxBench's data are several files; pass their folder")
    for place in (folder, folder / PLUGIN):
        for train_stem, eval_stem in _LAYOUTS:
            train, evaluation = (find_table(place, [s]) for s in (train_stem, eval_stem))
            if train and evaluation:
                return _read(source, place, train, evaluation)
    raise DataError(_nothing_found(source, folder))


def _nothing_found(source: Source, folder: Path) -> str:
    below = sorted(
        path.relative_to(folder).parts[0]
        for train_stem, _ in _LAYOUTS
        for path in folder.glob(f"*/{train_stem}.*")
    )
    text = f"{source}: no train_data and latent_eval_data (parquet, jsonl, json or csv) there"
    if below:
        return f"{text}; these folders have them, pass one: {', '.join(dict.fromkeys(below))}"
    return f"{text}. {three_ways(PLUGIN, HUB)}"


def _read(source: Source, place: Path, train: Path, evaluation: Path) -> ConceptData:
    named = [p for p in (place / "metadata.jsonl", train.parent / "metadata.jsonl") if p.is_file()]
    concepts = read_table(named[0], ("concept_id", "concept")) if named else None
    return _checked(source, concepts, read_table(train, COLUMNS), read_table(evaluation, COLUMNS))


def _checked(
    source: Source, named: list[Row] | None, train: list[Row], evaluation: list[Row]
) -> ConceptData:
    tables = (("training", train, TEXTS), ("evaluation", evaluation, TEXTS))
    for table, rows, texts_of in (*tables, ("concepts'", named or [], ("concept",))):
        for number, row in enumerate(rows, start=1):
            where = f"{source}: row {number} of the {table} data"
            for name in texts_of:
                text_in(row, name, where)
            row["concept_id"] = _number_in(row, where)
    genres: dict[int, str] = {}
    texts: dict[int, str] = {}
    for row in train:
        if row["category"] == "positive":
            genres.setdefault(row["concept_id"], row["concept_genre"])
            texts.setdefault(row["concept_id"], row["output_concept"])
    if named is not None:
        texts = {row["concept_id"]: row["concept"] for row in named}
    if any(number < 0 for number in texts):
        raise DataError(f"{source}: concept {min(texts)}; numbers of concepts are from 0 up")
    if not texts:
        raise DataError(f"{source}: no concepts: no training row has the category 'positive'")
    lonely = [number for number in texts if number not in genres]
    if lonely:
        raise DataError(f"{source}: concept {lonely[0]} has no positives in the training data")
    negative = {row["concept_genre"] for row in train if row["category"] == "negative"}
    for number in texts:
        if genres[number] not in negative:
            raise DataError(
                f"{source}: concept {number} ({texts[number]!r}) has no negatives in its genre "
                f"{genres[number]!r}"
            )
    refs = _refs(named or [], evaluation)
    concepts = tuple(Concept(n, texts[n], genres[n], refs.get(n, "")) for n in sorted(texts))
    known = [row for row in evaluation if row["concept_id"] in texts]
    return ConceptData(source, concepts, train, known)


def text_in(row: Row, name: str, where: str) -> str:
    """A column's text.

    Raises:
        DataError: There is none, or something else.
    """
    found = row[name]
    if isinstance(found, str):
        return found
    if _empty(found):
        raise DataError(f"{where} has no {name}")
    raise DataError(f"{where}: {name} is a {type(found).__name__}, not a text")


def _empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _number_in(row: Row, where: str) -> int:
    """A concept's number; −1 in rows that all concepts share."""
    found = row["concept_id"]
    if _empty(found):
        raise DataError(f"{where} has no concept_id")
    try:
        number = int(found) if isinstance(found, (int, float, str)) else None
    except (ValueError, OverflowError):
        number = None
    odd = isinstance(found, bool) or (isinstance(found, float) and found != number)
    if number is None or odd or not -1 <= number <= LARGEST_ID:
        said = one_line(repr(found), 40)
        raise DataError(f"{where}: concept_id is {said}, not a number from -1 to {LARGEST_ID}")
    return number


def _refs(named: Sequence[Row], evaluation: Sequence[Row]) -> dict[int, str]:
    """Where each concept's description comes from: ``ref``, else ``sae_link``, else ``sae_id``."""
    found: dict[int, str] = {}
    for row in [*named, *evaluation]:
        given = (row.get(column) for column in ("ref", "sae_link", "sae_id"))
        own = [str(v) for v in given if isinstance(v, (str, int, float)) and v not in ("", -1)]
        if own:
            found.setdefault(row["concept_id"], own[0])
    return found


def whole_text(row: Mapping[str, Any]) -> str:
    """A row as plain text: input, line break, output."""
    return f"{row['input']}\n{row['output']}"


def instructions(wanted: str, source: Source) -> list[str]:
    """The instructions that steering is tried on (AlpacaEval's, in its order).

    Args:
        wanted: ``hub``, ``testbed`` or a file; empty for the default.
        source: Where the concept data come from, and so by default the instructions.

    Raises:
        DataError: There are none, or too few to draw ten from.
    """
    if wanted == "testbed" or (not wanted and source.kind == "testbed"):
        from harness.testbed.english import corpus

        rows: list[Row] = [dict(row) for row in corpus.instructions()]
    elif wanted == "hub" or (not wanted and source.kind == "hub"):
        hub = Source("hub", HUB_INSTRUCTIONS, "axbench_instructions")
        rows = from_hub(hub, PLUGIN, _download_instructions)
    else:
        rows = read_table(_instruction_file(wanted, source), ("instruction",))
    if len(rows) < INSTRUCTIONS_PER_CONCEPT:
        raise DataError(
            f"{source}: {len(rows)} instructions, too few: steering draws "
            f"{INSTRUCTIONS_PER_CONCEPT} a concept"
        )
    return [
        text_in(row, "instruction", f"{source}: row {number} of the instructions")
        for number, row in enumerate(rows, start=1)
    ]


def _instruction_file(wanted: str, source: Source) -> Path:
    if wanted:
        return Path(wanted).expanduser()
    for place in (source.path, source.path / PLUGIN):
        found = find_table(place, ["alpaca_eval"])
        if found:
            return found
    raise DataError(
        f"{source}: no alpaca_eval.json (or jsonl, parquet, csv; column: instruction) there; add "
        f"it, or pass --metadata axbench_instructions=hub|testbed|FILE"
    )


def _download_instructions() -> list[Row]:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(HUB_INSTRUCTIONS, "alpaca_eval.json", repo_type="dataset")
    return read_table(Path(path), ("instruction",))


def drawn_instructions(pool: Sequence[str], concept: Concept) -> list[str]:
    """A concept's ten instructions, drawn as in the paper: ``.sample(10, random_state=id)``."""
    import pandas as pd  # type: ignore[import-untyped]

    drawn: list[str] = (
        pd.Series(list(pool)).sample(INSTRUCTIONS_PER_CONCEPT, random_state=concept.id).tolist()
    )
    return drawn
