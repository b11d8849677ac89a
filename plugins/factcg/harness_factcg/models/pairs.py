"""What a model wrapper reads of lm-eval's requests: their row, and its place for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness_factcg.checking.verdicts import Pair
from harness_factcg.data.rows import text


def place_of(request: Any) -> str:
    """Task and row of a request."""
    return f"task {request.task_name}, row {request.doc_id}"


def pair_of(request: Any) -> Pair | None:
    """The document and the claim of a request's row, if it has them.

    Raises:
        DataError: One of them is empty.
    """
    row = request.doc
    if not isinstance(row, Mapping) or not {"doc", "claim"} <= row.keys():
        return None
    at = place_of(request)
    return Pair(text(row, "doc", at), text(row, "claim", at))
