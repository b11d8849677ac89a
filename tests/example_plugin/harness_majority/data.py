"""Sums of two digits, written with words.

A row: ``{"question": "What is two plus three?", "answer": "five"}``.
"""

from typing import Any

from harness import DataError, Sourced, choose, find_table, read_table

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def sums(**metadata: Any) -> Sourced:
    """Rows from a file of the user's (``majority_data=FILE``), else the embedded ones.

    Raises:
        DataError: The source named has no such rows.
    """
    source = choose({"data": "testbed"} | metadata, plugin="majority", hub="none")
    if source.kind == "testbed":
        rows = [
            {"question": f"What is {WORDS[a]} plus {WORDS[b]}?", "answer": WORDS[a + b]}
            for a in range(6)
            for b in range(5)
        ]
        return Sourced("test", rows, source)
    path = source.path if source.path.is_file() else find_table(source.path, ["sums"])
    if path is None:
        raise DataError(f"{source}: no sums.jsonl, .json, .csv or .parquet there")
    return Sourced("test", read_table(path, ["question", "answer"]), source)
