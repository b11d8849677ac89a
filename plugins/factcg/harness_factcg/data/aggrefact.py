"""LLM-AggreFact: rows (document, claim, label) of eleven data sets, and rows of the user's own.

https://huggingface.co/datasets/lytang/LLM-AggreFact (gated, CC BY-ND 4.0; not for training). A row:

    {"dataset": "Wice", "doc": "The bridge was built in 1932. …", "claim": "The bridge opened in
     1935.", "label": 0, "contamination_identifier": "…"}

Label 1: the document supports all of the claim.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import DataError, Row, Source, Sourced, choose, find_table, from_hub, read_table
from harness_factcg.data.rows import (
    COLUMNS,
    checked_row,
    need_both_labels,
    split_file,
    text,
)
from harness_factcg.options import SPLITS, RunOptions, run_options

_log = logging.getLogger(__name__)

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
OWN = (
    "fact_check reads rows of your own: give --metadata fact_check_data=FILE (.parquet, .jsonl, "
    ".json or .csv with the columns doc, claim, label; dataset and id if you like), a folder with "
    "such a fact_check.jsonl, or testbed"
)


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
        DataError: The source cannot be read, has bad rows, or no rows of this data set, or all its
            claims have one label.
    """
    run = run_options(metadata)
    source = choose(run.sources(), plugin="aggrefact", hub=HUB)
    split, rows = _of_dataset(dataset, source, run.aggrefact_split or SPLITS[0])
    return Sourced(split, rows, source)


def llm_aggrefact_tuned(*, dataset: str, **metadata: Any) -> Sourced:
    """The dev rows of one data set, to tune a threshold on, and its test rows, to apply it to.

    A row's ``split`` tells which it is. The two alternate in proportion to their numbers, so that
    a run with ``--limit`` has both. A dev row that is in the test split too, the same claim about
    the same document, is left out; other claims about a document that both splits have stay, and
    the test split stays whole. How many, is saved with the results. The paper's code leaves none
    out.

    Args:
        dataset: One of ``DATASETS``.
        metadata: The run's metadata: ``aggrefact_data`` or ``data`` (hub, testbed, or a folder with
            both splits).

    Raises:
        DataError: As for ``llm_aggrefact``, for either split; or nothing is left to tune on.
    """
    run = run_options(metadata)
    source = choose(run.sources(), plugin="aggrefact", hub=HUB)
    if source.kind == "folder" and source.path.is_file():
        raise DataError(
            f"{source.path} is one split; llm_aggrefact_tuned needs dev and test: give a folder "
            f"with dev.jsonl and test.jsonl (or .parquet, .json, .csv)"
        )
    if run.aggrefact_split is not None:
        raise DataError("aggrefact_split has no meaning here: thresholds are tuned on dev for test")
    (_, dev), (_, test) = (_of_dataset(dataset, source, split) for split in ("dev", "test"))
    kept = _without(dev, test)
    if not kept:
        raise DataError(f"{source}: all {len(dev)} dev rows of {dataset} are test rows too")
    left_out = len(dev) - len(kept)
    if left_out:
        counted = (dataset, left_out, len(dev))
        _log.info("%s: %d of %d dev rows are left out: they are test rows too", *counted)
        _tell_overlap(str(source))
    need_both_labels(kept, f"{source}, split dev, {dataset}")
    notes = {"n_dev": len(kept), "n_test": len(test), "dev_rows_left_out": left_out}
    return Sourced("test", alternating(dev=kept, test=test), source, notes=notes)


@functools.cache
def _tell_overlap(source: str) -> None:
    """Once a source: a run of the group reads eleven data sets of it."""
    said = "%s: dev rows that are test rows too are left out; dev_rows_left_out says how many"
    _log.warning(said, source)


def wice_dev(run: RunOptions) -> Sequence[Row]:
    """The dev rows of WiCE, from where the run has LLM-AggreFact.

    Raises:
        DataError: As for ``llm_aggrefact``.
    """
    source = choose(run.sources(), plugin="aggrefact", hub=HUB)
    return _of_dataset("Wice", source, "dev")[1]


def _without(rows: Sequence[Row], others: Sequence[Row]) -> Sequence[Row]:
    """The rows whose document and claim are not together in a row of the others."""
    held = {(row["doc"], row["claim"]) for row in others}
    return [row for row in rows if (row["doc"], row["claim"]) not in held]


def alternating(**splits: Sequence[Row]) -> Sequence[Row]:
    """The rows of splits, marked by ``split``, each split spread evenly over the whole."""
    placed = [
        ((number + 0.5) / len(rows), row | {"split": split})
        for split, rows in splits.items()
        for number, row in enumerate(rows)
    ]
    return [row for _, row in sorted(placed, key=lambda found: found[0])]


def fact_check(**metadata: Any) -> Sourced:
    """The user's own rows: doc, claim, label, and ``dataset`` and ``id`` where they have them.

    Args:
        metadata: The run's metadata: ``fact_check_data`` or ``data`` (a file, a folder with
            ``fact_check.jsonl``, ``.parquet``, ``.json`` or ``.csv``, or testbed).

    Raises:
        DataError: There is no such file, a row of it is bad, or all claims have one label.
    """
    source = choose(run_options(metadata).sources(), plugin="fact_check", advice=OWN)
    if source.kind == "testbed":
        split, where, table = _table(source, "test")
    else:
        path = source.path if source.path.is_file() else find_table(source.path, ("fact_check",))
        if path is None:
            raise DataError(f"{source.path}: no fact_check.parquet, .jsonl, .json or .csv. {OWN}")
        split, where, table = path.stem, str(path), read_table(path, COLUMNS)
    rows = [
        checked_row(row, f"{where}, row {number}")
        | {"dataset": _word(row, "dataset", ""), "id": _word(row, "id", str(number))}
        for number, row in enumerate(table, start=1)
    ]
    if not rows:
        raise DataError(f"{where} has no rows")
    for name in dict.fromkeys(row["dataset"] for row in rows):
        part = [row for row in rows if row["dataset"] == name]
        need_both_labels(part, f"{where}, data set {name!r}" if name else where)
    return Sourced(split, rows, source)


def _word(row: Row, column: str, default: str) -> str:
    value = row.get(column)
    return default if value is None or value == "" else str(value)


def _of_dataset(dataset: str, source: Source, split: str) -> tuple[str, Sequence[Row]]:
    """The split read, and the rows of one data set; both labels are among them."""
    split, where, table = _table(source, split)
    rows = [row for row in table if row["dataset"] == dataset]
    if not rows:
        raise DataError(_nothing_found(dataset, where, table))
    need_both_labels(rows, f"{where}, {dataset}")
    return split, rows


def _table(source: Source, split: str) -> tuple[str, str, Sequence[Row]]:
    """The split read, the words for its place, and all its rows."""
    if source.kind == "hub":
        return split, f"{source}, split {split}", from_hub(source, "aggrefact", lambda: _hub(split))
    if source.kind == "testbed":
        return split, f"the testbed's split {split}", _testbed(split)
    path = source.path
    if not path.is_file():
        path = split_file(path, ("aggrefact",), split, "aggrefact")
    return path.stem, str(path), _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _hub(split: str) -> Sequence[Row]:
    import datasets

    table = datasets.load_dataset(HUB, split=split).to_list()
    known = [row for row in table if _letters(str(row.get("dataset"))) in _SPELLED]
    if len(known) < len(table):
        _log.warning("%s has %d rows of other data sets", HUB, len(table) - len(known))
    return checked(known, HUB)


@functools.lru_cache(maxsize=4)
def _testbed(split: str) -> Sequence[Row]:
    from harness.testbed.english import corpus

    return checked(corpus.claims(split), "testbed")


@functools.lru_cache(maxsize=4)
def _read(path: Path, modified: int) -> Sequence[Row]:
    """One table, read once a process for all eleven tasks unless it changes."""
    return checked(read_table(path, ("dataset", *COLUMNS)), str(path))


def checked(rows: Sequence[Mapping[str, Any]], place: str) -> Sequence[Row]:
    """The rows with spelling of data sets and type of labels made uniform.

    Args:
        rows: Rows with at least dataset, doc, claim and label.
        place: Where they are from, for messages.

    Raises:
        DataError: A text is empty, a label is neither 0 nor 1, a column is missing, or a data set
            is none of the eleven.
    """
    good: list[Row] = []
    documents: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        at = f"{place}, row {number}"
        if "dataset" not in row:
            raise DataError(f"{at}: missing column(s) dataset")
        name = text(row, "dataset", at)
        if _letters(name) not in _SPELLED:
            raise DataError(
                f"{at}: unknown data set {name!r}; LLM-AggreFact has {', '.join(DATASETS)}; for "
                f"rows of your own, run --tasks fact_check"
            )
        claim = checked_row(row, at)
        claim["doc"] = documents.setdefault(claim["doc"], claim["doc"])  # ten claims share one
        identifier = str(row.get("contamination_identifier") or "")
        good.append(
            {"dataset": _SPELLED[_letters(name)]} | claim | {"contamination_identifier": identifier}
        )
    return good


def _letters(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


_SPELLED = {_letters(name): name for name in DATASETS}


def _nothing_found(dataset: str, where: str, table: Sequence[Row]) -> str:
    counts = Counter(row["dataset"] for row in table)
    if not counts:
        return f"{where} has no rows"
    held = ", ".join(f"{name} ({count})" for name, count in counts.items())
    tasks = ",".join(map(task_name, counts))
    return f"{where} has no rows of {dataset}, only of {held}: run --tasks {tasks}"
