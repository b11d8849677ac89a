"""Rows about made-up people: four or more facts a document, two claims each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness_factcg.data.aggrefact import DATASETS

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank")
CITIES = ("Rome", "Paris", "London", "Berlin", "Madrid", "Vienna")


def document(length: int, shift: int = 0) -> str:
    """So many sentences, one fact each."""
    return " ".join(
        f"{NAMES[(k + shift) % 6]} lives in {CITIES[(k * 5 + shift) % 6]}, near the old mill."
        for k in range(length)
    )


def rows(each: int = 6, datasets: Sequence[str] = DATASETS) -> list[dict[str, Any]]:
    """Rows of every data set, both labels in each; documents shared by pairs of rows."""
    return [
        {
            "dataset": name,
            "doc": document(4 + 3 * place + k // 2, k // 2),
            "claim": f"{NAMES[k % 6]} lives in {CITIES[(k + place) % 6]}.",
            "label": k % 2,
            "contamination_identifier": f"{place}-{k // 2}",
        }
        for place, name in enumerate(datasets)
        for k in range(each)
    ]


def write_jsonl(path: Path, content: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path
