"""Each document's value of a metric, read line by line from lm-eval's samples.

A line, shortened, as lm-eval 0.4.13 writes it (0.4.3 has neither ``filter`` nor ``metrics``)::

    {"doc_id": 0, "doc": {…}, "resps": […], "filter": "none", "metrics": ["acc"],
     "doc_hash": "9c…", "prompt_hash": "1f…", "target_hash": "e3…", "acc": 1.0}

A document is known by its number and the hash of its row. The prompt is none of it: a chat template
or an instruction before it changes the prompt and not the document.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from harness.data.lines import numbered
from harness.errors import DataError

Document: TypeAlias = tuple[int, str]
"""The document's number and the hash of its row."""
Metric: TypeAlias = tuple[str, str]
"""A metric's name and lm-eval's filter."""
Values: TypeAlias = Mapping[Document, Any]

_LONGEST = 200


def read_values(
    file: Path, metrics: Sequence[Metric], expected: int | None
) -> dict[Metric, Values]:
    """What the samples hold of some metrics.

    Args:
        file: The samples of one task.
        metrics: The metrics.
        expected: Number of documents that the results speak of; None if they do not say.

    Returns:
        By metric a value for each document that has one, in the order of the file.

    Raises:
        DataError: The file is missing, damaged or incomplete; the message says where.
    """
    found: dict[Metric, dict[Document, Any]] = {metric: {} for metric in metrics}
    names: dict[str, list[str]] = {}
    for name, of_filter in metrics:
        names.setdefault(of_filter, []).append(name)
    seen: dict[str, set[Document]] = {}
    for number, line in numbered(file):
        where = f"{file}, line {number}"
        document, of_filter = _document(line, where), _filter(line, names, where)
        known = seen.setdefault(of_filter, set())
        if document in known:
            raise DataError(f"{where}: document {document[0]} is there twice")
        known.add(document)
        for name in names.get(of_filter, ()):
            if name in line:
                found[name, of_filter][document] = line[name]
    for filter_name in names:
        count = len(seen.get(filter_name, set()))
        if expected is not None and count != expected:
            raise DataError(f"{file} holds {count} of {expected} samples; it is cut or damaged")
    return dict(found)


def _filter(line: Mapping[str, Any], names: Collection[str], where: str) -> str:
    """The filter that a line is of; where it does not say, the only one of the task."""
    given = line.get("filter")
    if given is None and len(names) == 1:
        return next(iter(names))
    if not isinstance(given, str):
        raise DataError(f"{where} does not say which filter it is of; run the task again")
    return given


def _document(line: Mapping[str, Any], where: str) -> Document:
    number, digest = line.get("doc_id"), line.get("doc_hash", "")
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(f"{where}: doc_id is no whole number")
    if not isinstance(digest, str) or len(digest) > _LONGEST:
        raise DataError(f"{where}: doc_hash is no hash")
    return number, digest
