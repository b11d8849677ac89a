r"""CoRe: does a checker connect sentences? Pairs of documents that differ in one that is needed.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144: a claim that rests on several sentences of a document is put to the checker twice, with
the document, which supports it, and with the document without one of those sentences, which does
not. From WiCE (Kamoi et al. 2023, arXiv 2303.01432), whose annotators gave for each claim sets of
sentences S_1 … S_a that suffice:

    the claim is supported,   min_i |S_i| ≥ 2,   C = S_1 ∩ … ∩ S_a ≠ ∅;   remove one s ∈ C.

    >>> row = {"label": "supported", "claim": "Anna works in Rome.", "supporting_sentences":
    ...        [[0, 2], [0, 1, 2]], "evidence": ["Anna works at Borealis.", "A firm.",
    ...        "Borealis is in Rome."]}
    >>> [(pair["doc"], pair["label"]) for pair in wice_pairs([row], "example")]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('Anna works at Borealis. A firm. Borealis is in Rome.', 1),
     ('A firm. Borealis is in Rome.', 0)]

C = {0, 2}. This reading gives 75 pairs for WiCE's dev split, as many as the paper has, and 73 for
its test split. Without a sentence that is in every set no set is left whole, so the claim has lost
its support however it was annotated.

Deviations: which sentence of C goes, the paper does not tell: here the first. Where its words occur
in the document again (twice in dev), every copy of it goes. Sentences are joined by a space, blank
ones left out, as in LLM-AggreFact.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import DataError, Row, Sourced, choose, read_table
from harness.errors import one_line
from harness_factcg.data import aggrefact, cg2c
from harness_factcg.data.rows import COLUMNS, checked_row, split_file, text
from harness_factcg.options import SPLITS, TUNED, run_options

_log = logging.getLogger(__name__)

WICE = ("label", "supporting_sentences", "claim", "evidence")
ADVICE = (
    "CoRe's pairs are on no hub that can be read from here: give --metadata core_data=FILE or "
    "FOLDER, with WiCE's claims (test.jsonl and dev.jsonl of data/entailment_retrieval/claim in "
    "https://github.com/ryokamoi/wice) or pairs already made "
    "(columns doc, claim, label, pair_id; or CG2C's), or core_data=testbed"
)
TESTBED_PAIRS = 120


def factcg_core(**metadata: Any) -> Sourced:
    """The rows of CoRe's pairs, a supported one (label 1) and then its like (label 0).

    Args:
        metadata: The run's metadata: ``core_data`` or ``data`` (a file of WiCE or of pairs, a
            folder with such files, or testbed), ``core_split`` (test or dev), ``core_threshold``
            (``tuned`` adds the dev claims of WiCE from ``aggrefact_data``; a row's ``split`` tells
            them from the pairs').

    Raises:
        DataError: There is no such file, it has other fields, or no pair can be made from it.
    """
    run = run_options(metadata)
    source = choose(run.sources(), plugin="core", advice=ADVICE)
    split = run.core_split
    if source.kind == "testbed":
        rows = _testbed(split)
    else:
        path = source.path
        if not path.is_file():
            path = split_file(path, ("core", "wice"), split, "core")
        split, rows = path.stem, _read(path)
    notes = {"n_pairs": len(rows) // 2}
    if run.core_threshold != TUNED:
        return Sourced(split, rows, source, notes=notes)
    dev = aggrefact.wice_dev(run)
    known = {(row["doc"], row["claim"]) for row in rows}
    notes |= {
        "n_dev": len(dev),
        "dev_rows_in_pairs": sum((row["doc"], row["claim"]) in known for row in dev),
    }
    if notes["dev_rows_in_pairs"]:
        _log.warning(
            "%d of the %d claims that tune the threshold are CoRe's own, as in the paper's code",
            *(notes["dev_rows_in_pairs"], len(dev)),
        )
    own = [dict.fromkeys(rows[0], "") | {name: row[name] for name in COLUMNS} for row in dev]
    return Sourced(split, aggrefact.alternating(dev=own, test=rows), source, notes=notes)


def _read(path: Path) -> list[Row]:
    """The pairs in a file: WiCE's claims, or pairs already made."""
    table = read_table(path)
    if not table:
        raise DataError(f"{path} has no rows")
    if "evidence" in table[0] or "supporting_sentences" in table[0]:
        rows = wice_pairs(table, str(path))
        if not rows:
            raise DataError(
                f"{path}: no supported claim of its {len(table)} rests on two sentences or more "
                f"of which one is in every annotator's set"
            )
        return rows
    if "text_a" in table[0]:  # as the paper's training pairs were released
        return [row for pair in cg2c.pairs(cg2c.read(path)) for row in pair]
    return ready_pairs(table, str(path))


def _testbed(split: str) -> list[Row]:
    """A claim along a path of two or three facts, with its document, and without one of the facts.

    The relation is rewritten, not deleted; the seeds are none that data are generated from.
    """
    from harness.testbed.english import chains

    seed = -1 - SPLITS.index(split)
    rng = random.Random(f"core {split}")
    rows: list[Row] = []
    for number, document in enumerate(chains.documents(TESTBED_PAIRS, seed)):
        path = rng.choice(chains.paths(chains.stated(document), 2 + number % 2))
        pair = {"claim": chains.claim(path), "pair_id": str(number)}
        corrupted = chains.removed(document, rng.choice(path))
        rows += [{"doc": document, "label": 1} | pair, {"doc": corrupted, "label": 0} | pair]
    return rows


def wice_pairs(table: Sequence[Mapping[str, Any]], place: str) -> list[Row]:
    """CoRe's pairs from claims of WiCE.

    Args:
        table: WiCE's claims: label, supporting_sentences, claim, evidence.
        place: Where they are from, for messages.

    Returns:
        Two rows a pair: doc, claim, label, pair_id, removed (the sentence taken out).

    Raises:
        DataError: A field is missing or of another kind.
    """
    rows: list[Row] = []
    for number, row in enumerate(table, start=1):
        at = f"{place}, row {number}"
        evidence, sets = _evidence_and_sets(row, at)
        if row["label"] != "supported" or min(map(len, sets), default=0) < 2:
            continue
        common = sorted(set.intersection(*sets))
        if not common:
            continue
        sentence = evidence[common[0]]
        without = [other for other in evidence if other != sentence]
        for label, sentences in ((1, evidence), (0, without)):
            pair = {"doc": " ".join(filter(None, sentences)), "claim": row["claim"], "label": label}
            rows.append(checked_row(pair, at) | {"pair_id": str(number), "removed": sentence})
    return rows


def _evidence_and_sets(row: Mapping[str, Any], at: str) -> tuple[list[str], list[set[int]]]:
    """The stripped sentences of a claim's evidence, and the annotators' sets of their places."""
    missing = [name for name in WICE if name not in row]
    if missing:
        raise DataError(f"{at}: missing field(s) {', '.join(missing)} of WiCE")
    text(row, "claim", at)
    evidence, sets = row["evidence"], row["supporting_sentences"]
    if not isinstance(evidence, list) or not all(isinstance(line, str) for line in evidence):
        raise DataError(f"{at}: evidence is no list of sentences")
    if not isinstance(sets, list) or not all(
        isinstance(one, list) and all(_is_place(place, evidence) for place in one) for one in sets
    ):
        raise DataError(
            f"{at}: supporting_sentences is no list of lists of places among the "
            f"{len(evidence)} sentences of the evidence"
        )
    return [line.strip() for line in evidence], [set(one) for one in sets]


def _is_place(value: object, evidence: Sequence[str]) -> bool:
    return isinstance(value, int) and 0 <= value < len(evidence)


def ready_pairs(table: Sequence[Mapping[str, Any]], place: str) -> list[Row]:
    """Pairs already made, each put side by side, the supported row first.

    Args:
        table: Rows with doc, claim, label and pair_id.
        place: Where they are from, for messages.

    Raises:
        DataError: A row is bad, or a pair has not one row of either label about one claim.
    """
    pairs: dict[str, list[Row]] = {}
    for number, row in enumerate(table, start=1):
        at = f"{place}, row {number}"
        checked = checked_row(row, at)
        if row.get("pair_id") in (None, ""):
            raise DataError(
                f"{at}: no pair_id; needed are doc, claim, label and pair_id, or WiCE's "
                f"{', '.join(WICE)}"
            )
        key = str(row["pair_id"])
        pairs.setdefault(key, []).append(checked | {"pair_id": key})
    for key, rows in pairs.items():
        rows.sort(key=lambda row: -row["label"])
        if [row["label"] for row in rows] != [1, 0] or rows[0]["claim"] != rows[1]["claim"]:
            raise DataError(
                f"{place}: pair_id {one_line(key, 80)} has {len(rows)} row(s); a pair is two rows "
                "with the same claim, one with label 1 and one with label 0"
            )
    return [row for rows in pairs.values() for row in rows]
