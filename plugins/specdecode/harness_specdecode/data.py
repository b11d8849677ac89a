"""Spec-Bench's prompts: 480 in 13 categories, or rows of the same form from elsewhere.

Xia et al. 2024, *Unlocking Efficiency in Large Language Model Inference* (arXiv 2401.07851). A row:

    {"question_id": 81, "category": "writing", "turns": ["Compose an engaging …", "Rewrite …"]}

The set lies in its authors' repository on GitHub; ``hub`` means that file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.datasets import Row, Source, Sourced, choose, find_table, from_hub, read_table
from harness.errors import DataError

HUB = "https://raw.githubusercontent.com/hemingkx/Spec-Bench/main/data/spec_bench/question.jsonl"
PLUGIN = "specbench"
COLUMNS = ("question_id", "category", "turns")
DRAWS = "coupling_draws"
DEFAULT_DRAWS = 100


def questions(metadata: Mapping[str, Any]) -> tuple[Source, Sequence[Row]]:
    """Where the rows come from, and the rows: question_id, category and turns.

    Args:
        metadata: The run's metadata: ``specbench_data`` or ``data`` (hub, testbed, or a file of
            the form of ``question.jsonl`` or a folder with it).

    Raises:
        DataError: The source cannot be read or has no rows, or a row is bad.
    """
    source = choose(metadata, plugin=PLUGIN, hub=HUB)
    if source.kind == "testbed":
        from harness.testbed import corpus

        return source, [
            {"question_id": number, "category": "testbed", "turns": [row["instruction"]]}
            for number, row in enumerate(corpus.instructions())
        ]
    if source.kind == "hub":
        where, table = HUB, from_hub(source, PLUGIN, _download)
    else:
        path = source.path if source.path.is_file() else find_table(source.path, ("question",))
        if path is None:
            raise DataError(f"{source.path}: no question.jsonl, .parquet or .json in this folder")
        where, table = str(path), read_table(path, COLUMNS)
    if not table:
        raise DataError(f"{where} has no rows")
    return source, [_checked(row, f"{where}, row {k}") for k, row in enumerate(table, start=1)]


def _download() -> list[Row]:
    import datasets

    rows: list[Row] = datasets.load_dataset("json", data_files=HUB, split="train").to_list()
    return rows


def _checked(row: Row, at: str) -> Row:
    turns = row.get("turns")
    good = isinstance(turns, list) and turns and all(isinstance(t, str) and t for t in turns)
    if not good:
        raise DataError(f"{at}: turns is to be a list of texts, and is {str(turns)[:40]!r}")
    return {"question_id": row["question_id"], "category": str(row["category"]), "turns": turns}


def coupling_prompts(**metadata: Any) -> Sourced:
    """The first turn of each question, the categories taking turns, so that --limit has them all.

    Args:
        metadata: The run's metadata: as for ``questions``, and ``coupling_draws``, how often each
            coupling is sampled at each position (100).

    Raises:
        DataError: As for ``questions``, or ``coupling_draws`` is no number above 1.
    """
    source, table = questions(metadata)
    draws = metadata.get(DRAWS, DEFAULT_DRAWS)
    if not isinstance(draws, int) or draws < 2:
        raise DataError(f"{DRAWS}={draws}: give a whole number of at least 2")
    seen: Counter[str] = Counter()
    placed = []
    for number, row in enumerate(table):
        placed.append((seen[row["category"]], number, row))
        seen[row["category"]] += 1
    rows = [
        {
            "question_id": row["question_id"],
            "category": row["category"],
            "prompt": row["turns"][0],
            DRAWS: draws,
        }
        for _, _, row in sorted(placed, key=lambda place: place[:2])
    ]
    return Sourced("test", rows, source, notes={DRAWS: draws})
