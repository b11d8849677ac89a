"""CG2C files: pairs of rows that share a claim, which one document supports and the other does not.

Two schemas are read. What ``harness factcg generate`` writes:

    {"doc": "Anna works for Borealis. …", "claim": "Anna works for a company based in Rome.",
     "label": 1, "hops": 2, "pair_id": "17-0", "source": "doc", "removed": ["Anna", "Anna works for
     Borealis.", "Borealis"]}

and what the authors of Lei et al. 2025 (arXiv 2501.17144) released (https://github.com/derenlei/
FactCG, ``CG2C_doc.jsonl``), where two rows in a row with one claim and both labels are a pair:

    {"task": "bin_grounding", "text_a": "Hunt also said …", "text_b": ["Ken Clarke, …"],
     "text_c": [], "orig_label": 1}

Label 1: the document supports the claim.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import DataError, Row, read_table
from harness.errors import one_line

COLUMNS = ("doc", "claim", "label", "hops", "pair_id", "source", "removed")
RELEASED = ("task", "text_a", "text_b", "text_c", "orig_label")


@dataclass(frozen=True)
class LengthGap:
    """How much longer negatives are than the positives of their pairs, in words.

    Attributes:
        pairs: Pairs of a positive and a negative.
        shorter: Negatives with fewer words than their positive.
        longer: Negatives with more.
        median: Words of the negative minus words of the positive, the median over pairs.
    """

    pairs: int
    shorter: int
    longer: int
    median: float

    def __str__(self) -> str:
        if not self.pairs:
            return "no pairs"
        return (
            f"{self.shorter} of {self.pairs} negatives are shorter than their positive "
            f"({self.shorter / self.pairs:.1%}), {self.longer} longer; median gap "
            f"{self.median:+g} words"
        )

    def as_dict(self) -> dict[str, float]:
        """Its figures by name."""
        return asdict(self)


def read(path: Path) -> list[Row]:
    """The rows of a CG2C file of either schema, with the columns ``COLUMNS``.

    Args:
        path: JSON lines, a JSON list or a parquet table; all of its rows have one schema.

    Returns:
        The rows in their order; of the released schema as ``released`` gives them.

    Raises:
        DataError: The file is missing or has no rows, or a row is broken; the message names it.
    """
    table = read_table(path)
    if not table:
        raise DataError(f"{path} has no rows")
    if RELEASED[1] in table[0]:
        return released(table, path)
    return [_own(given, f"{path}, row {number}") for number, given in enumerate(table, start=1)]


def released(
    table: Sequence[Mapping[str, Any]], path: Path, *, skip_withheld: bool = False
) -> list[Row]:
    """The rows of a table in the schema of the authors' files.

    Args:
        table: Its rows.
        path: Where they are from.
        skip_withheld: Whether those without their document are left out.

    Returns:
        The rows in their order. ``hops`` is 0 (not known), ``removed`` is empty, ``source`` is the
        file's name and a row without a partner is a pair of its own.

    Raises:
        DataError: A row is broken, or its document is withheld.
    """
    rows = [
        _released(given, f"{path}, row {number}", path.stem)
        for number, given in enumerate(table, start=1)
        if not (skip_withheld and withheld(given))
    ]
    return _paired(rows, path.stem)


def withheld(row: Mapping[str, Any]) -> bool:
    """Whether a row of the released schema lacks its document.

    The released files leave ``text_a`` empty where its text may not be passed on.
    """
    return row.get("text_a") == ""


def _own(given: Mapping[str, Any], place: str) -> Row:
    missing = [name for name in COLUMNS if name not in given]
    if missing:
        raise DataError(
            f"{place}: missing column(s) {', '.join(missing)}; a CG2C file has "
            f"{', '.join(COLUMNS)}, or {', '.join(RELEASED)}"
        )
    removed = given["removed"]
    if not isinstance(removed, list) or any(not isinstance(part, str) for part in removed):
        raise DataError(f"{place}: removed is no list of texts")
    if len(removed) not in (0, 3):
        raise DataError(f"{place}: removed has {len(removed)} parts, not entity, relation, entity")
    hops = given["hops"]
    if isinstance(hops, bool) or not isinstance(hops, int) or hops < 0:
        said = one_line(repr(hops), 80)
        raise DataError(f"{place}: hops is no number of connected triples: {said}")
    return {
        "doc": _text(given["doc"], "doc", place),
        "claim": _text(given["claim"], "claim", place),
        "label": _label(given["label"], "label", place),
        "hops": hops,
        "pair_id": _text(given["pair_id"], "pair_id", place),
        "source": str(given["source"]),
        "removed": removed,
    }


def _released(given: Mapping[str, Any], place: str, source: str) -> Row:
    missing = [name for name in ("text_a", "text_b", "orig_label") if name not in given]
    if missing:
        raise DataError(f"{place}: missing column(s) {', '.join(missing)}")
    claims = given["text_b"]
    if not isinstance(claims, list) or len(claims) != 1:
        raise DataError(f"{place}: text_b is no list of one claim")
    if withheld(given):
        raise DataError(f"{place}: its document is withheld (text_a is empty)")
    return {
        "doc": _text(given["text_a"], "text_a", place),
        "claim": _text(claims[0], "text_b", place),
        "label": _label(given["orig_label"], "orig_label", place),
        "hops": 0,
        "pair_id": "",
        "source": source,
        "removed": [],
    }


def _text(value: object, name: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {name} is empty or no text")
    return value


def _label(value: object, name: str, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in (0, 1):
        said = one_line(repr(value), 80)
        raise DataError(f"{place}: {name} {said} is neither 0 (not supported) nor 1 (supported)")
    return value


def _paired(rows: Sequence[Row], stem: str) -> list[Row]:
    """The rows with a ``pair_id`` each: neighbours with one claim and both labels share theirs."""
    found: list[Row] = []
    number, waiting = 0, None
    for row in rows:
        wanted = None if waiting is None else (waiting["claim"], 1 - waiting["label"])
        partner = wanted == (row["claim"], row["label"])
        number += not partner
        found.append(row | {"pair_id": f"{stem}-{number}"})
        waiting = None if partner else row
    return found


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """The positive and the negative of each pair that has one of each, in order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["pair_id"], []).append(row)
    both = [sorted(group, key=lambda row: -row["label"]) for group in groups.values()]
    return [(own[0], own[1]) for own in both if [row["label"] for row in own] == [1, 0]]


def length_gap(rows: Sequence[Row]) -> LengthGap:
    """What a document's length tells of the label; words are what white space separates."""
    gaps = [len(no["doc"].split()) - len(yes["doc"].split()) for yes, no in pairs(rows)]
    return LengthGap(
        pairs=len(gaps),
        shorter=sum(gap < 0 for gap in gaps),
        longer=sum(gap > 0 for gap in gaps),
        median=statistics.median(gaps) if gaps else 0.0,
    )
