"""The documents of a task's samples, one at a time, however large the file.

lm-eval writes all lines of one filter before those of the next; here they are brought together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness.data.lines import numbered
from harness.errors import DataError
from harness.export.parsing import sample_of
from harness.export.runs import NOT_SHOWN, Evaluated
from harness.export.samples import Answer, Sample
from harness.reports.values import number
from harness.secrets import data_striker

_NAME = re.compile(r"[\w.,:+-]{1,80}")


def samples_of(task: Evaluated) -> Iterator[Sample]:
    """The documents of a task, in the order of its samples.

    Texts that stay out are replaced, and its rows and judges' words dropped; what looks like
    a key is struck from all texts.

    Raises:
        DataError: The samples are damaged, incomplete or not of one kind; the message says where.
    """
    if task.samples is None:
        return
    filters = _filters(task)
    strike = data_striker()
    of_filters = [_of_filter(task, name) for name in filters]
    for lines in zip(*of_filters, strict=True):
        numbers = {line["doc_id"] for _, line in lines}
        if len(numbers) > 1:
            places = ", ".join(str(place) for place, _ in lines)
            raise DataError(f"{task.samples}: lines {places} are of different documents")
        try:
            made = sample_of(task, [line for _, line in lines], strike)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as cause:
            where = f"{task.samples}, line {lines[0][0]}"
            raise DataError(f"{where} is no sample of lm-eval ({type(cause).__name__})") from cause
        yield _hidden(made) if task.hidden else made


def _filters(task: Evaluated) -> list[str]:
    """The filters of a task's samples; each has every document once."""
    assert task.samples is not None
    seen: dict[str, set[int]] = {}
    for place, line in numbered(task.samples):
        document, name = line.get("doc_id"), line.get("filter") or "none"
        where = f"{task.samples}, line {place}"
        if not isinstance(document, int) or isinstance(document, bool):
            raise DataError(f"{where}: doc_id is no whole number")
        if not isinstance(name, str):
            raise DataError(f"{where}: filter is no name")
        known = seen.setdefault(name, set())
        if document in known:
            raise DataError(f"{where}: document {document} is there twice")
        known.add(document)
    count = max(map(len, seen.values()), default=0) if task.documents is None else task.documents
    for known in seen.values():
        if len(known) != count:
            raise DataError(
                f"{task.samples} holds {len(known)} of {count} samples; it is cut or damaged"
            )
    return list(seen)


def _of_filter(task: Evaluated, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    assert task.samples is not None
    for place, line in numbered(task.samples):
        if (line.get("filter") or "none") == name:
            yield place, line


def _hidden(sample: Sample) -> Sample:
    answers = [
        Answer(
            filter=one.filter,
            text=NOT_SHOWN,
            values={name: _bare(value) for name, value in one.values.items()},
            ratings=one.ratings,
        )
        for one in sample.answers
    ]
    return replace(
        sample,
        doc={},
        messages=tuple((role, NOT_SHOWN) for role, _ in sample.messages),
        choices=(),
        scores=(),
        right=None,
        target=(NOT_SHOWN,),
        responses=tuple(NOT_SHOWN for _ in sample.responses),
        answers=answers,
    )


def _bare(value: Any) -> Any:
    """A value without texts; numbers and single names (a verdict, a category) stay."""
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) else NOT_SHOWN
    return number(value)
