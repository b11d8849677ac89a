"""Spec-Bench's prompts: 480 in 13 categories, or rows of the same form from elsewhere.

Xia et al. 2024, *Unlocking Efficiency in Large Language Model Inference* (arXiv 2401.07851). A row:

    {"question_id": 81, "category": "writing", "turns": ["Compose an engaging …", "Rewrite …"]}

The set lies in its authors' repository on GitHub; ``hub`` means that file. Its groups are those of
the paper's tables: MT-bench's eight categories are one, ``multi_turn``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness import DataError, Row, Source, Sourced, choose, find_table, from_hub, read_table
from harness.data.options import refuse_misspelt
from harness_specdecode.requests import BATCH_SIZES, DRAFTERS, DRAWS, GAMMAS, GROUP, TURNS

HUB = "https://raw.githubusercontent.com/hemingkx/Spec-Bench/main/data/spec_bench/question.jsonl"
PLUGIN = "specbench"
COLUMNS = ("question_id", "category", "turns")
DEFAULT_DRAWS = 100
MULTI_TURN = "multi_turn"
MT_BENCH = frozenset(
    ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
)
OWN = "own"
_INVARIANCE: Mapping[str, tuple[Any, ...]] = {
    DRAFTERS: (OWN, "ngram", "early:1"),
    GAMMAS: (1, 3, 5, 8),
    BATCH_SIZES: (1, 8),
}
T = TypeVar("T")


def questions(metadata: Mapping[str, Any]) -> tuple[Source, Sequence[Row]]:
    """Where the rows come from, and the rows: question_id, category and turns.

    Args:
        metadata: The run's metadata: ``specbench_data`` or ``data`` (hub, testbed, or a file of
            the form of ``question.jsonl`` or a folder with it).

    Raises:
        DataError: The source cannot be read or has no rows, or a row is bad.
    """
    refuse_misspelt(metadata, (*_INVARIANCE, DRAWS), prefix="invariance_")
    source = choose(metadata, plugin=PLUGIN, hub=HUB)
    if source.kind == "testbed":
        from harness.testbed.english import corpus

        return source, [
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
    return source, [_checked(row, f"{where}, row {k}") for k, row in enumerate(table, start=1)]


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
        metadata: The run's metadata: as for ``questions``, and ``coupling_draws``, how often each
            coupling is sampled at each position (100).

    Raises:
        DataError: As for ``questions``, or ``coupling_draws`` is no number above 1.
    """
    source, table = questions(metadata)
    draws = metadata.get(DRAWS, DEFAULT_DRAWS)
    if not isinstance(draws, int) or draws < 2:
        raise DataError(f"{DRAWS}={draws}: give a whole number of at least 2")
    return Sourced(
        "test", [row | {DRAWS: draws} for row in _prompts(table)], source, notes={DRAWS: draws}
    )


def spec_bench_questions(**metadata: Any) -> Sourced:
    """Whole questions, the groups taking turns, so that --limit has them all.

    Args:
        metadata: The run's metadata, as for ``questions``.

    Raises:
        DataError: As for ``questions``.
    """
    source, table = questions(metadata)
    rows = [
        {
            "question_id": row["question_id"],
            "category": row["category"],
            GROUP: group(row["category"], len(row["turns"])),
            "prompt": row["turns"][0],
            TURNS: row["turns"],
        }
        for row in table
    ]
    return Sourced("test", _taking_turns(rows, GROUP), source)


def group(category: str, turns: int) -> str:
    """The group whose figures a question counts for."""
    return MULTI_TURN if category in MT_BENCH and turns > 1 else category


def invariance_prompts(**metadata: Any) -> Sourced:
    """The first turn of each question, and the ways to decode it.

    Args:
        metadata: The run's metadata: as for ``questions``, and lists such as ``1+3+8``:
            ``invariance_drafters`` (own+ngram+early:1), ``invariance_gammas`` (1+3+5+8),
            ``invariance_batch_sizes`` (1+8).

    Raises:
        DataError: As for ``questions``, or a list has a bad value, or there is no such key.
    """
    source, table = questions(metadata)
    ways = {
        DRAFTERS: _listed(metadata, DRAFTERS, _drafter, "names, as in own+ngram+early:1"),
        GAMMAS: _listed(metadata, GAMMAS, _count, "whole numbers of at least 1, as in 1+3+8"),
        BATCH_SIZES: _listed(
            metadata, BATCH_SIZES, _count, "whole numbers of at least 1, as in 1+8"
        ),
    }
    return Sourced("test", [row | ways for row in _prompts(table)], source, notes=ways)


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


def _listed(
    metadata: Mapping[str, Any], key: str, read: Callable[[Any], T], wanted: str
) -> list[T]:
    """A list of the metadata, as JSON or with + between the values; each value once."""
    value = metadata.get(key, _INVARIANCE[key])
    if isinstance(value, str):
        value = value.split("+")
    parts = value if isinstance(value, list | tuple) else [value]
    try:
        found = list(dict.fromkeys(read(part) for part in parts))
    except (TypeError, ValueError):
        found = []
    if not found:
        raise DataError(f"{key}={metadata[key]}: give {wanted}")
    return found


def _count(value: Any) -> int:
    number = int(value)
    if number < 1 or str(number) != str(value).strip():
        raise ValueError
    return number


def _drafter(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()
