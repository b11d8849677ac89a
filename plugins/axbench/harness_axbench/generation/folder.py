"""The folder of concept data that generation leaves, in AxBench's own layout.

``train_data.parquet``, ``latent_eval_data.parquet`` and ``metadata.jsonl`` as the published data
have them, ``alpaca_eval.json`` where steering instructions were given, and ``generation.json``: the
recipe, the SHA-256 of each file, how many rows each concept has, what is missing, and what it cost.
The folder appears by one rename, whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import ArtefactError, Row
from harness.artefacts import recipes
from harness.artefacts.reading import fitting
from harness.artefacts.recipes import MANIFEST
from harness.artefacts.schemas import Count
from harness.artefacts.writing import appearing, whole, write_json, write_lines
from harness.errors import shown
from harness_axbench.data.concepts import load
from harness_axbench.generation.seeds import ConceptSeed
from harness_axbench.options import run_options

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "axbench-data/1"
TRAIN, EVAL = "train_data", "latent_eval_data"
_SHOWN = 20
_LIBRARIES = ("lm_eval", "transformers", "pyarrow")
_WORDS = recipes.Words(
    other="other concept data (they differ in: {unlike})",
    flags={
        "sizes": "the numbers of rows or tokens",
        "training_negatives": "--target, --negatives-from",
        "wording": "the questions' wording",
    },
)


@dataclass(frozen=True)
class Generated:
    """A folder of generated data, and whether it was there before."""

    folder: Path
    manifest: Mapping[str, Any]
    already_there: bool = False


@dataclass(frozen=True)
class _Counts:
    concept_id: Count
    genre: str
    concept: str
    train_positive: Count
    eval_positive: Count
    eval_negative: Count
    eval_hard_negative: Count


@dataclass(frozen=True)
class _Manifest:
    """What is shown of a folder that is there already."""

    concepts: list[_Counts]
    training_negatives: dict[str, Count]
    dropped_concepts: list[Any]
    missing_rows: list[Any]
    costs: dict[str, dict[str, dict[str, Count]]]


def row_of(instruction: str, output: str, label: tuple[str, int], genre: str, category: str) -> Row:
    """A row of the training table; ``label`` is output_concept and concept_id.

    Half a surrogate pair in a text becomes "?": no table could hold it.
    """
    return {
        "input": whole(instruction),
        "output": whole(output),
        "output_concept": whole(label[0]),
        "concept_genre": genre,
        "category": category,
        "dataset_category": "instruction",
        "concept_id": label[1],
    }


def sae_columns(ref: str) -> Row:
    """What detection rows have besides: the feature that a concept describes, from its address.

    >>> sae_columns("https://www.neuronpedia.org/gemma-2-2b/10-gemmascope-res-16k/14874")["sae_id"]
    14874
    """
    last = ref.rpartition("/")[2]
    known = ref.startswith("https://") and last.isascii() and last.isdigit()
    return {"sae_link": ref if known else "", "sae_id": int(last) if known else -1}


def kept(folder: Path, recipe: Mapping[str, Any]) -> Generated | None:
    """The data already in a folder, if the recipe makes them.

    Raises:
        ArtefactError: Something else is there; the message says in what it differs.
    """
    manifest = recipes.kept(folder, recipe, words=_WORDS)
    if manifest is None:
        return None
    fitting(_Manifest, manifest, folder / MANIFEST, ArtefactError)
    return Generated(folder, manifest, already_there=True)


def write(
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    concepts: Sequence[ConceptSeed],
    rows: Mapping[str, Sequence[Row]],
    steering: Sequence[str],
    facts: Mapping[str, Any],
) -> Generated:
    """Write the folder.

    Args:
        folder: Where; must not exist.
        recipe: What the data follow from.
        concepts: The concepts that have rows.
        rows: The rows of each table.
        steering: Instructions that steering is tried on; none writes no such file.
        facts: Further entries of the manifest.

    Raises:
        ArtefactError: The folder has appeared meanwhile, or cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with appearing(folder) as draft:
        for name, table in rows.items():
            parquet.write_table(pa.Table.from_pylist(list(table)), draft / f"{name}.parquet")
        write_lines(draft / "metadata.jsonl", map(_named, concepts))
        if steering:
            listed = [{"instruction": text} for text in steering]
            write_json(draft / "alpaca_eval.json", listed)
        load(run_options({"axbench_data": str(draft)}))  # what cannot be read is not left behind
        counted = {**_counted(concepts, rows), **facts}
        manifest = recipes.write_manifest(draft, FORMAT, recipe, counted, _LIBRARIES)
    return Generated(folder, manifest)


def _named(concept: ConceptSeed) -> Row:
    return {
        "concept_id": concept.id,
        "concept": concept.text,
        "ref": concept.ref,
        "concept_genres_map": {concept.text: [concept.genre]},
    }


def _counted(concepts: Sequence[ConceptSeed], rows: Mapping[str, Sequence[Row]]) -> Row:
    """How many rows each concept has, and each genre's shared negatives."""
    counts = Counter(
        (row["concept_id"], table, row["category"])
        for table in (TRAIN, EVAL)
        for row in rows[table]
    )
    shared = Counter(row["concept_genre"] for row in rows[TRAIN] if row["concept_id"] == -1)
    listed = [
        {
            "concept_id": concept.id,
            "concept": concept.text,
            "genre": concept.genre,
            "train_positive": counts[concept.id, TRAIN, "positive"],
            "eval_positive": counts[concept.id, EVAL, "positive"],
            "eval_negative": counts[concept.id, EVAL, "negative"],
            "eval_hard_negative": counts[concept.id, EVAL, "hard negative"],
        }
        for concept in concepts
    ]
    return {"training_negatives": dict(shared), "concepts": listed}


def summary(made: Generated) -> str:
    """One line: how much there is, and how much is missing."""
    manifest = made.manifest
    text = f"{len(manifest['concepts'])} concepts"
    if manifest["dropped_concepts"] or manifest["missing_rows"]:
        text += (
            f"; left out: {len(manifest['dropped_concepts'])} concepts and "
            f"{len(manifest['missing_rows'])} rows, listed in {MANIFEST}"
        )
    return text


def tables(made: Generated) -> list[Table]:
    """What there is of each concept, and what each step cost, for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    manifest = made.manifest
    negatives = manifest["training_negatives"].items()
    shared = escape(shown(", ".join(f"{n} {genre}" for genre, n in negatives)))
    rows = Table(title=escape(str(made.folder)), caption=f"shared negatives: {shared}")
    for name in ("concept", "genre", "text", "train +", "eval +", "eval −", "eval hard −"):
        rows.add_column(name, overflow="fold")
    for own in manifest["concepts"][:_SHOWN]:
        words = (escape(shown(own[name])) for name in ("genre", "concept"))
        rows.add_row(str(own["concept_id"]), *words, *_numbers(own))
    if len(manifest["concepts"]) > _SHOWN:
        rows.add_row("…", "", f"and {len(manifest['concepts']) - _SHOWN} more", *[""] * 4)
    return [rows, recipes.costs_table(manifest["costs"])]


def _numbers(own: Mapping[str, Any]) -> list[str]:
    names = ("train_positive", "eval_positive", "eval_negative", "eval_hard_negative")
    return [str(own[name]) for name in names]
