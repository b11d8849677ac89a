"""Documents, each with its samples of all runs.

A document is paired as ``harness compare`` does: by task, number and the hash of its row. Rows that
differ only in how a method acts on them (``facts.METHOD_KEYS``) are one document, in whatever task:
so a prompt stands beside itself unsteered, steered at each factor, and prompted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.view.facts import METHOD_KEYS
from harness.view.samples import Plain, Sample

_VALUES, _FEW = 500, 60
"""Values of a name that can be chosen from: of one of ``_FIRST``, and of another."""
_LONGEST = 80
_FACETS = 12
_FIRST = ("concept", "category", "subject", "dataset", "group", "style", "persuasion", "split")


@dataclass(slots=True)
class Document:
    """A document.

    Args:
        task: The task that it was first met in.
        number: lm-eval's number of it there.
        snippet: Some of its words.
        facets: By name the number of its value.
        samples: What the page knows of each sample, as lists.
    """

    task: int
    number: int
    snippet: str
    facets: dict[str, int]
    samples: list[list[Plain]] = field(default_factory=list)


class Documents:
    """All documents, in the order in which they are met."""

    def __init__(self) -> None:
        self._found: dict[tuple[Any, ...], Document] = {}
        self._values: dict[str, dict[str, int]] = {}
        self._dropped: set[str] = set()
        self._often: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._found.values())

    def of(self, task: int, sample: Sample, snippet: str) -> Document:
        """The document of a sample."""
        key = _key(task, sample)
        found = self._found.get(key)
        if found is None:
            facets = dict(self._facets(sample.row))
            found = self._found[key] = Document(task, sample.number, snippet, facets)
        return found

    def _facets(self, row: dict[str, Plain]) -> Iterator[tuple[str, int]]:
        """The short values of a row, by their numbers; names with too many are let go."""
        for name, value in row.items():
            if name in self._dropped or name in METHOD_KEYS or len(name) > _LONGEST:
                continue
            if not isinstance(value, (str, bool, int)) or value == "":
                continue
            words = str(value)
            known = self._values.setdefault(name, {})
            if len(words) > _LONGEST or len(known) > (_VALUES if name in _FIRST else _FEW):
                self._dropped.add(name)
                continue
            self._often[name] += 1
            yield name, known.setdefault(words, len(known))

    def facets(self) -> dict[str, list[str]]:
        """By name the values that documents can be told apart by."""
        found = {
            name: list(values)
            for name, values in self._values.items()
            if name not in self._dropped and 1 < len(values) <= self._often[name] // 2
        }
        plain = [name for name in found if name.removesuffix("_id") not in found.keys() - {name}]
        first = {name: place for place, name in enumerate(_FIRST)}
        ordered = sorted(plain, key=lambda name: (first.get(name, len(first)), len(found[name])))
        return {name: found[name] for name in ordered[:_FACETS]}


def _key(task: int, sample: Sample) -> tuple[Any, ...]:
    row = sample.row
    if not any(name in row for name in METHOD_KEYS):
        return task, sample.number, sample.digest
    plain = {name: value for name, value in row.items() if name not in METHOD_KEYS}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True)
    return ("", hashlib.sha256(text.encode()).hexdigest()[:32])
