"""Spec-Bench's prompts: 480 in 13 categories, or rows of the same form from elsewhere.

Xia et al. 2024, *Unlocking Efficiency in Large Language Model Inference* (arXiv 2401.07851). A row:

    {"question_id": 81, "category": "writing", "turns": ["Compose an engaging …", "Rewrite …"]}

The set lies in its authors' repository on GitHub; ``hub`` means that file. Its groups are those of
the paper's tables: MT-bench's eight categories are one, ``multi_turn``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness import DataError, Row, Source, Sourced, find_table, from_hub, read_table
from harness_specdecode.options import HUB, PLUGIN, run_options
from harness_specdecode.requests import BATCH_SIZES, DRAFTERS, DRAWS, GAMMAS, GROUP, TURNS

COLUMNS = ("question_id", "category", "turns")
MULTI_TURN = "multi_turn"
MT_BENCH = frozenset(
    ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
)


def questions(source: Source) -> Sequence[Row]:
    """Rows of question_id, category and turns.

    Args:
        source: Hub, testbed, a file of the form of ``question.jsonl``, or a folder with it.

    Raises:
        DataError: The source cannot be read or has no rows, or a row is bad.
    """
    if source.kind == "testbed":
        from harness.testbed.english import corpus

        return [
            {"question_id": number, "category": category, "turns": turns}
            for number, (category, turns) in enumerate(_talks(corpus.instructions()))
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
    return [_checked(row, f"{where}, row {k}") for k, row in enumerate(table, start=1)]


def _talks(rows: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Each instruction by itself, and every other one with the next behind it."""
    texts = [row["instruction"] for row in rows]
    return [
        ("testbed_turns", [text, after]) if number % 2 else ("testbed", [text])
        for number, (text, after) in enumerate(zip(texts, texts[1:] + texts[:1], strict=True))
    ]


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
        metadata: The run's metadata, as ``options.run_options`` reads it.

    Raises:
        DataError: As for ``questions``, or an option is bad.
    """
    run = run_options(metadata)
    draws = {DRAWS: run.coupling_draws}
    rows = [row | draws for row in _prompts(questions(run.data))]
    return Sourced("test", rows, run.data, notes=draws)


def spec_bench_questions(**metadata: Any) -> Sourced:
    """Whole questions, the groups taking turns, so that --limit has them all.

    Args:
        metadata: The run's metadata, as ``options.run_options`` reads it.

    Raises:
        DataError: As for ``questions``, or an option is bad.
    """
    run = run_options(metadata)
    rows = [
        {
            "question_id": row["question_id"],
            "category": row["category"],
            GROUP: group(row["category"], len(row["turns"])),
            "prompt": row["turns"][0],
            TURNS: row["turns"],
        }
        for row in questions(run.data)
    ]
    return Sourced("test", _taking_turns(rows, GROUP), run.data)


def group(category: str, turns: int) -> str:
    """The group whose figures a question counts for."""
    return MULTI_TURN if category in MT_BENCH and turns > 1 else category


def invariance_prompts(**metadata: Any) -> Sourced:
    """The first turn of each question, and the ways to decode it.

    Args:
        metadata: The run's metadata, as ``options.run_options`` reads it.

    Raises:
        DataError: As for ``questions``, or an option is bad.
    """
    run = run_options(metadata)
    ways = {
        DRAFTERS: list(run.invariance_drafters),
        GAMMAS: list(run.invariance_gammas),
        BATCH_SIZES: list(run.invariance_batch_sizes),
    }
    rows = [row | ways for row in _prompts(questions(run.data))]
    return Sourced("test", rows, run.data, notes=ways)


def _prompts(table: Sequence[Row]) -> list[Row]:
    """First turns, the categories taking turns."""
    return [
        {
            "question_id": row["question_id"],
            "category": row["category"],
            "prompt": row["turns"][0],
        }
        for row in _taking_turns(table, "category")
    ]


def _taking_turns(rows: Sequence[Row], column: str) -> list[Row]:
    """The first row of each value of a column, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    placed = []
    for number, row in enumerate(rows):
        placed.append((seen[row[column]], number, row))
        seen[row[column]] += 1
    return [row for _, _, row in sorted(placed, key=lambda place: place[:2])]
