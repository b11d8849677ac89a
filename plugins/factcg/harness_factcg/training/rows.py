"""Rows to train a fact checker on: read, refused, split without dividing a pair, put in order.

A row is a document, a claim and a label (1 = the document supports the claim). Files are of either
CG2C schema (``cg2c``), or tables with the columns doc, claim and label.

Rows that share a document, or are a pair of one claim and two documents, belong together: the part
held out for the choice of a model takes all of them or none. The documents of rows 0 and 1 are a
pair, and rows 1 and 2 have one document:

    >>> rows = [{"doc": "A", "pair_id": "1"}, {"doc": "B", "pair_id": "1"},
    ...         {"doc": "B", "pair_id": ""}, {"doc": "C", "pair_id": ""}]
    >>> groups(rows)
    [[0, 1, 2], [3]]
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import DataError, Row, read_table
from harness.artefacts.checksums import digest
from harness.data.sources import FORMATS
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.families import Family
from harness_factcg.checking.planning import Ids, Planner
from harness_factcg.checking.verdicts import Pair
from harness_factcg.data import cg2c
from harness_factcg.data.aggrefact import DATASETS
from harness_factcg.data.rows import checked_row

_SLICE = 4096


@dataclass(frozen=True)
class Source:
    """A file of rows, by its content.

    ``withheld`` is the number of its rows that are left out, as their document is withheld; None
    where such rows are refused.
    """

    path: Path
    sha256: str
    withheld: int | None = None

    @classmethod
    def of(cls, path: Path, *, option: str = "data", skip_withheld: bool = False) -> Source:
        """A file to be read.

        Args:
            path: The file.
            option: What it was given by, for messages.
            skip_withheld: Whether released rows without their document are left out.

        Raises:
            DataError: There is none, or what is to be counted cannot be read.
        """
        place = path.expanduser()
        if not place.is_file():
            raise DataError(f"{option} {path}: no such file; {', '.join(FORMATS)} are read")
        lacking = sum(map(cg2c.withheld, read_table(place))) if skip_withheld else None
        return cls(place, digest(place), lacking)

    def as_dict(self) -> dict[str, str | int]:
        """For the record: the name without its folder, the content's hash, what is left out."""
        found: dict[str, str | int] = {"file": self.path.name, "sha256": self.sha256}
        return found if self.withheld is None else found | {"withheld": self.withheld}


def read(sources: Sequence[Source]) -> list[Row]:
    """The rows of some files: doc, claim, label, pair_id (empty where a row has no partner).

    Raises:
        DataError: A file has no rows, a broken one, withheld documents, or holds LLM-AggreFact.
    """
    found: list[Row] = []
    for number, source in enumerate(sources):
        for row in _rows(source.path, source.withheld is not None):
            pair = row.get("pair_id") or ""
            own = {name: row[name] for name in ("doc", "claim", "label")}
            found.append(own | {"pair_id": f"{number}:{pair}" if pair else ""})
    return found


def _rows(path: Path, skip_withheld: bool) -> Sequence[Row]:
    table = read_table(path)
    if not table:
        raise DataError(f"{path} has no rows")
    _refuse_evaluation_data(path, table)
    if "text_a" in table[0]:
        lacking = sum(map(cg2c.withheld, table))
        left = len(table) - lacking
        if lacking and not (left and skip_withheld):
            way = f", or give --skip-withheld to train on the other {left:,}" if left else ""
            raise DataError(
                f"{path}: the documents of {lacking:,} of its {len(table):,} rows are withheld "
                f"(text_a is empty): fill them in{way}"
            )
        return cg2c.released(table, path, skip_withheld=True)
    rows = []
    for number, row in enumerate(table, start=1):
        pair = row.get("pair_id")
        named = {} if pair in (None, "") else {"pair_id": str(pair)}
        rows.append(checked_row(row, f"{path}, row {number}") | named)
    return rows


def _refuse_evaluation_data(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """LLM-AggreFact is told by its columns, and by the names of its data sets."""
    for number, row in enumerate(table, start=1):
        if "contamination_identifier" in row or row.get("dataset") in DATASETS:
            raise DataError(
                f"{path}, row {number}: this is LLM-AggreFact, which is for evaluation alone: its "
                "terms forbid training on it, and a model chosen on it could not be measured on it"
            )


def check_labels(rows: Sequence[Row], what: str) -> None:
    """Refuse rows of one label.

    Raises:
        DataError: Names what they are and how many.
    """
    counts = Counter(row["label"] for row in rows)
    if len(counts) < 2:
        (label,) = counts or {"none": 0}
        raise DataError(
            f"{what}: all {len(rows)} rows have the label {label}; both supported (1) and "
            "unsupported (0) claims are needed"
        )


def groups(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Places of the rows that belong together: of one document or one pair, at any remove."""
    import networkx

    graph = networkx.Graph()
    for place, row in enumerate(rows):
        graph.add_edge(place, ("document", row["doc"]))
        if row["pair_id"]:
            graph.add_edge(place, ("pair", row["pair_id"]))
    parts = networkx.connected_components(graph)
    return sorted(sorted(node for node in part if isinstance(node, int)) for part in parts)


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and a share of them to choose a model on, both in the rows' order.

    Groups are drawn at random until the share is reached, so the second part is larger than asked
    by less than one group.

    Raises:
        DataError: Rows hang together so that no such share can be split off, or a part has but one
            label.
    """
    parts = groups(rows)
    random.Random(f"split {seed}").shuffle(parts)
    wanted = math.ceil(share * len(rows))
    held: set[int] = set()
    for part in parts:
        if len(held) >= wanted:
            break
        held.update(part)
    if len(held) > max(2 * wanted, wanted + 8):
        raise DataError(
            f"{max(map(len, parts))} of {len(rows)} rows hang together by their documents and "
            "pairs, so that no part can be held out to choose the model on: give --dev FILE"
        )
    train = [row for place, row in enumerate(rows) if place not in held]
    dev = [row for place, row in enumerate(rows) if place in held]
    check_labels(train, "the rows left for training")
    check_labels(dev, f"the {len(dev)} rows held out to choose the model on (--dev gives others)")
    return train, dev


def encoded(
    rows: Sequence[Row], tokenizer: Any, family: Family, *, progress: bool = False
) -> tuple[list[Ids], int]:
    """Token ids of each row's prompt, and how many of the documents were cut.

    A document is put as a chunk is put at inference, its sentences joined, and cut at its end where
    the prompt would be longer than ``family.max_length``.
    """
    whole = replace(family, chunk_size=None)
    planner = Planner(tokenizer, whole, max_length=family.max_length, overlong="cut")
    found: list[Ids] = []
    cut = 0
    starts = range(0, len(rows), _SLICE)
    for start in tqdm(starts, desc="Reading rows", disable=len(starts) < 2 or not progress):
        pairs = [
            Pair(family.joint.join(split_sentences(row["doc"])), row["claim"])
            for row in rows[start : start + _SLICE]
        ]
        plan = planner.plan(pairs)
        for pair in pairs:
            ((place,),) = (asked.places for asked in plan.asked[pair])
            found.append(plan.ids[place])
            cut += place in plan.cut
    return found, cut
