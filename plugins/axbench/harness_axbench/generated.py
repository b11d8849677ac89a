"""The folder of concept data that generation leaves, in AxBench's own layout.

``train_data.parquet``, ``latent_eval_data.parquet`` and ``metadata.jsonl`` as the published data
have them, ``alpaca_eval.json`` where steering instructions were given, and ``generation.json``: the
recipe, the SHA-256 of each file, how many rows each concept has, what is missing, and what it cost.
The folder appears by one rename, whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checksums import digest
from harness.datasets import Row
from harness.errors import ArtefactError
from harness_axbench import data
from harness_axbench.seeds import ConceptSeed

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "axbench-data/1"
MANIFEST = "generation.json"
TRAIN, EVAL = "train_data", "latent_eval_data"
_SHOWN = 20
_COSTS = ("questions", "stored", "requests", "rejected", "unanswered")


@dataclass(frozen=True)
class Generated:
    """A folder of generated data, and whether it was there before."""

    folder: Path
    manifest: Mapping[str, Any]
    already_there: bool = False


def row_of(instruction: str, output: str, label: tuple[str, int], genre: str, category: str) -> Row:
    """A row of the training table; ``label`` is output_concept and concept_id.

    Half a surrogate pair in a text becomes "?": no table could hold it.
    """
    return {
        "input": _whole(instruction),
        "output": _whole(output),
        "output_concept": _whole(label[0]),
        "concept_genre": genre,
        "category": category,
        "dataset_category": "instruction",
        "concept_id": label[1],
    }


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


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
    if not folder.exists():
        return None
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtefactError(f"{folder} exists and has no {MANIFEST}; choose another --out")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        there, files = manifest["recipe"], manifest["files"]
    except (ValueError, KeyError, TypeError) as cause:
        raise ArtefactError(f"{path} is damaged ({cause}); choose another --out") from cause
    unlike = sorted(k for k in {*recipe, *there} if recipe.get(k) != there.get(k))
    if unlike:
        raise ArtefactError(
            f"{folder} holds other data (they differ in: {', '.join(unlike)}); choose another "
            "--out or remove it"
        )
    for name, expected in files.items():
        if not (folder / name).is_file() or digest(folder / name) != expected:
            raise ArtefactError(
                f"{folder / name} is missing or was changed; remove the folder and run again: "
                "stored answers are not asked for again"
            )
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

    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for name, table in rows.items():
            parquet.write_table(pa.Table.from_pylist(list(table)), draft / f"{name}.parquet")
        lines = [json.dumps(_named(concept), ensure_ascii=False) + "\n" for concept in concepts]
        (draft / "metadata.jsonl").write_text("".join(lines), encoding="utf-8", errors="replace")
        if steering:
            _write_json(draft / "alpaca_eval.json", [{"instruction": text} for text in steering])
        data.load({"axbench_data": str(draft)})  # what cannot be read is not left behind
        manifest: dict[str, Any] = {"format": FORMAT, "recipe": dict(recipe)}
        manifest["files"] = {file.name: digest(file) for file in sorted(draft.iterdir())}
        manifest |= {**_counted(concepts, rows), **facts, "versions": _versions()}
        _write_json(draft / MANIFEST, manifest)
        draft.rename(folder)
    except OSError as cause:
        raise ArtefactError(f"{folder} cannot be written: {cause}") from cause
    finally:
        shutil.rmtree(draft, ignore_errors=True)
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


def _write_json(file: Path, value: object) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8", errors="replace")


def _versions() -> dict[str, str]:
    from harness import __version__

    names = ("lm_eval", "transformers", "pyarrow")
    return {"paperharness": __version__} | {name: metadata.version(name) for name in names}


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
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    manifest = made.manifest
    shared = ", ".join(f"{n} {genre}" for genre, n in manifest["training_negatives"].items())
    rows = Table(title=escape(str(made.folder)), caption=f"shared negatives: {shared}")
    for name in ("concept", "genre", "text", "train +", "eval +", "eval −", "eval hard −"):
        rows.add_column(name, overflow="fold")
    for own in manifest["concepts"][:_SHOWN]:
        rows.add_row(str(own["concept_id"]), own["genre"], escape(own["concept"]), *_numbers(own))
    if len(manifest["concepts"]) > _SHOWN:
        rows.add_row("…", "", f"and {len(manifest['concepts']) - _SHOWN} more", *[""] * 4)
    costs = Table(
        title="costs of the run that wrote it",
        caption="in and out: tokens (t) where the model reports them, else characters (c)",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    costs.add_column("step", no_wrap=True)
    for name in ("asked", "stored", "sent", "rejected", "missing", "in", "out"):
        costs.add_column(name, justify="right", no_wrap=True)
    for role, steps in manifest["costs"].items():
        for step, spent in steps.items():
            unit = "tokens" if "prompt_tokens" in spent else "characters"
            figures = [_short(spent.get(name, 0)) for name in _COSTS]
            for part in ("prompt", "answer"):
                figures.append(f"{_short(spent.get(f'{part}_{unit}', 0))} {unit[0]}")
            costs.add_row(f"{role}: {step}", *figures)
    return [rows, costs]


def _short(count: int) -> str:
    """A number in at most five characters.

    >>> _short(999), _short(26_183), _short(13_600_000)
    ('999', '26.2k', '13.6M')
    """
    for size, mark in ((1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if mark == 'k' else 1e6):.1f}{mark}"
    return str(count)


def _numbers(own: Mapping[str, Any]) -> list[str]:
    names = ("train_positive", "eval_positive", "eval_negative", "eval_hard_negative")
    return [str(own[name]) for name in names]
