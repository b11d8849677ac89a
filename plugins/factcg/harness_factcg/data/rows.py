"""Rows to check: a document, a claim about it, and whether it supports all of the claim.

    {"doc": "The bridge was built in 1932. …", "claim": "The bridge opened in 1935.", "label": 0}

A row that cannot be scored is an error that names it, before any model is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import DataError, Row, find_table
from harness.errors import one_line
from harness_factcg.options import SPLITS

COLUMNS = ("doc", "claim", "label")


def checked_row(row: Mapping[str, Any], at: str) -> Row:
    """The row's document, claim and label, the label as an integer.

    Args:
        row: A row of any table.
        at: Its place, for messages.

    Raises:
        DataError: A column is missing, a text is empty, or the label is neither 0 nor 1.
    """
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise DataError(f"{at}: missing column(s) {', '.join(missing)}")
    return {
        "doc": text(row, "doc", at),
        "claim": text(row, "claim", at),
        "label": _label(row["label"], at),
    }


def text(row: Mapping[str, Any], column: str, at: str) -> str:
    """A text of the row.

    Raises:
        DataError: There is none, or nothing but white space.
    """
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{at}: {column} is empty or no text")
    return value


def _label(value: object, at: str) -> int:
    """0 or 1 from an integer, a truth value or the digit as text."""
    if isinstance(value, int) and value in (0, 1):
        return int(value)
    if isinstance(value, str) and value.strip() in ("0", "1"):
        return int(value)
    said = one_line(repr(value), 80)
    raise DataError(f"{at}: label {said} is neither 0 (not supported) nor 1 (supported)")


def need_both_labels(rows: Sequence[Row], where: str) -> None:
    """Refuse claims that are all supported, or all not.

    Raises:
        DataError: Balanced accuracy and AUROC are not defined for these rows.
    """
    counts = Counter(row["label"] for row in rows)
    if len(counts) == 1:
        ((label, count),) = counts.items()
        raise DataError(
            f"{where}: all {count} claims have label {label}; balanced accuracy and AUROC need "
            f"supported claims (label 1) and others (label 0)"
        )


def split_file(folder: Path, subfolders: Sequence[str], split: str, plugin: str) -> Path:
    """The table of a split, in one of the folder's sub-folders or in the folder itself.

    Raises:
        DataError: None has it; the message says which split there is instead.
    """
    homes = (*(folder / name for name in subfolders), folder)
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
                    f"--metadata {plugin}_split={other}"
                )
    raise DataError(
        f"{folder}: no {split}.parquet, .jsonl, .json or .csv there or in its sub-folder "
        f"{' or '.join(subfolders)}"
    )
