"""LLM-AggreFact: rows (document, claim, label) of eleven data sets, from hub, files or testbed.

https://huggingface.co/datasets/lytang/LLM-AggreFact (gated, CC BY-ND 4.0; not for training). A row:

    {"dataset": "Wice", "doc": "The bridge was built in 1932. …", "claim": "The bridge opened in
     1935.", "label": 0, "contamination_identifier": "…"}

Label 1: the document supports all of the claim.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.datasets import Row, Source, Sourced, choose, find_table, from_hub, read_table
from harness.errors import DataError

HUB = "lytang/LLM-AggreFact"
DATASETS = (
    "AggreFact-CNN",
    "AggreFact-XSum",
    "TofuEval-MediaS",
    "TofuEval-MeetB",
    "Wice",
    "Reveal",
    "ClaimVerify",
    "FactCheck-GPT",
    "ExpertQA",
    "Lfqa",
    "RAGTruth",
)
SPLITS = ("test", "dev")
_REQUIRED = ("dataset", "doc", "claim", "label")


def task_name(dataset: str) -> str:
    """The lm-eval task of a data set: ``Wice`` → ``llm_aggrefact_wice``."""
    return "llm_aggrefact_" + dataset.lower().replace("-", "_")


def llm_aggrefact(*, dataset: str, **metadata: Any) -> Sourced:
    """The rows of one data set.

    Args:
        dataset: One of ``DATASETS``.
        metadata: The run's metadata: ``aggrefact_data`` or ``data`` (hub, testbed, or a folder or
            file of one's own), ``aggrefact_split`` (test or dev).

    Raises:
        DataError: The source cannot be read, has bad rows, or no rows of this data set.
    """
    source = choose(metadata, plugin="aggrefact", hub=HUB)
    split, where, table = _table(source, _split(metadata))
    rows = [row for row in table if row["dataset"] == dataset]
    if not rows:
        raise DataError(_nothing_found(dataset, where, table))
    return Sourced(split, rows, source)


def _split(metadata: Mapping[str, Any]) -> str:
    split = str(metadata.get("aggrefact_split", SPLITS[0]))
    if split not in SPLITS:
        raise DataError(f"aggrefact_split={split}: use one of {', '.join(SPLITS)}")
    return split


def _table(source: Source, split: str) -> tuple[str, str, Sequence[Row]]:
    """The split read, the words for its place, and all its rows."""
    if source.kind == "hub":
        return split, f"{source}, split {split}", from_hub(source, "aggrefact", lambda: _hub(split))
    if source.kind == "testbed":
        return split, f"the testbed's split {split}", _testbed(split)
    path = source.path if source.path.is_file() else _file(source.path, split)
    return path.stem, str(path), _read(path, path.stat().st_mtime_ns)


def _file(folder: Path, split: str) -> Path:
    """The table of a split in a user's folder, or in its sub-folder ``aggrefact``."""
    homes = (folder, folder / "aggrefact")
    for home in homes:
        path = find_table(home, (split,))
        if path is not None:
            return path
    for home in homes:
        for other in SPLITS:
            path = find_table(home, (other,))
            if path is not None:
                raise DataError(
                    f"{folder} has no split '{split}', but {path}; to evaluate on it, give "
                    f"--metadata aggrefact_split={other}"
                )
    raise DataError(
        f"{folder}: no {split}.parquet, .jsonl, .json or .csv there or in its sub-folder aggrefact"
    )


@functools.lru_cache(maxsize=4)
def _hub(split: str) -> Sequence[Row]:
    import datasets

    return checked(datasets.load_dataset(HUB, split=split).to_list(), HUB)


@functools.lru_cache(maxsize=4)
def _testbed(split: str) -> Sequence[Row]:
    from harness.testbed import corpus

    return checked(corpus.claims(split), "testbed")


@functools.lru_cache(maxsize=4)
def _read(path: Path, modified: int) -> Sequence[Row]:
    """One table, read once a process for all eleven tasks unless it changes."""
    return checked(read_table(path, _REQUIRED), str(path))


def checked(rows: Sequence[Mapping[str, Any]], place: str) -> Sequence[Row]:
    """The rows with spelling of data sets and type of labels made uniform.

    Args:
        rows: Rows with at least dataset, doc, claim and label.
        place: Where they are from, for messages.

    Raises:
        DataError: A text is empty, a label is neither 0 nor 1, or a column is missing.
    """
    spelled = {_letters(name): name for name in DATASETS}
    good: list[Row] = []
    for number, row in enumerate(rows, start=1):
        at = f"{place}, row {number}"
        missing = [column for column in _REQUIRED if column not in row]
        if missing:
            raise DataError(f"{at}: missing column(s) {', '.join(missing)}")
        for column in ("dataset", "doc", "claim"):
            if not isinstance(row[column], str) or not row[column].strip():
                raise DataError(f"{at}: {column} is empty or no text")
        good.append(
            {
                "dataset": spelled.get(_letters(row["dataset"]), row["dataset"]),
                "doc": row["doc"],
                "claim": row["claim"],
                "label": _label(row["label"], at),
                "contamination_identifier": str(row.get("contamination_identifier") or ""),
            }
        )
    return good


def _letters(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def _label(value: object, at: str) -> int:
    """0 or 1 from an integer, a truth value or the digit as text."""
    if isinstance(value, int) and value in (0, 1):
        return int(value)
    if isinstance(value, str) and value.strip() in ("0", "1"):
        return int(value)
    raise DataError(f"{at}: label {value!r} is neither 0 (not supported) nor 1 (supported)")


def _nothing_found(dataset: str, where: str, table: Sequence[Row]) -> str:
    counts = Counter(row["dataset"] for row in table)
    if not counts:
        return f"{where} has no rows"
    held = ", ".join(f"{name} ({count})" for name, count in counts.items())
    tasks = ",".join(task_name(name) for name in counts if name in DATASETS)
    advice = f"run --tasks {tasks}" if tasks else f"rename to one of {', '.join(DATASETS)}"
    return f"{where} has no rows of {dataset}, only of {held}: {advice}"
