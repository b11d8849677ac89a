"""What is kept of an assessed claim: a JSON line, and a line of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.reports.files import Cell
from harness.reports.values import text
from harness_factcg.assessing.assessment import Assessment, Part
from harness_factcg.metrics import document_id

SUPPORTED, UNSUPPORTED = "supported", "not supported"

COLUMNS = (
    *("row", "id", "dataset", "claim", "label", "verdict", "score", "margin"),
    *("chunks", "deciding_chunk", "truncated", "rests_on"),
)
"""The columns of the table."""


def verdict_of(supported: bool) -> str:
    """The verdict in words."""
    return SUPPORTED if supported else UNSUPPORTED


def record(one: Assessment, row: int) -> dict[str, Any]:
    """A claim as a JSON object.

    ``margin`` and ``drop`` are log-odds in nats, ``start`` and ``end`` count characters of the
    document, ``document`` is the beginning of its SHA-256. ``sufficient`` tells whether the
    sentences alone make the claim supported. A claim of several sentences has ``sentences``, each
    with its own verdict.

    Args:
        one: The assessed claim.
        row: Its number in the input, from 1.
    """
    claim, verdict = one.claim, one.verdict
    found: dict[str, Any] = {
        "row": row,
        "id": text(claim.id),
        "dataset": text(claim.dataset),
        "document": document_id(claim.document),
        "claim": text(claim.text),
        "label": claim.label,
        "verdict": verdict_of(one.supported),
        "score": verdict.score,
        "margin": verdict.margin,
        "chunks": verdict.chunks,
        "deciding_chunk": verdict.deciding_chunk,
        "truncated": verdict.truncated,
        "rests_on": [line for part in one.deciding for line in _reasons(one, part)],
        "sufficient": all(
            part.explanation is not None and part.explanation.sufficient is not None
            for part in one.deciding
        ),
    }
    if one.sentences:
        found["sentences"] = [
            {
                "text": text(part.text),
                "verdict": verdict_of(part.supported),
                "score": part.score,
                "margin": part.margin,
            }
            | ({"rests_on": _reasons(one, part)} if part.explanation else {})
            for part in one.sentences
        ]
    return found


def _reasons(one: Assessment, part: Part) -> list[dict[str, Any]]:
    """The sentences that the verdict on a part rests on."""
    return [
        {
            "sentence": text(one.claim.document[passage.start : passage.end]),
            "start": passage.start,
            "end": passage.end,
            "drop": passage.drop,
        }
        for passage in part.reasons
    ]


def cells(line: dict[str, Any]) -> Sequence[Cell]:
    """A record as the cells of ``COLUMNS``."""
    reasons = " … ".join(" ".join(reason["sentence"].split()) for reason in line["rests_on"])
    return [*(line[name] for name in COLUMNS[:-1]), reasons]
