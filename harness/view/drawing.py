"""What traces know of a text, as a few kinds of marks that a page can draw.

A trace, or a metric's value for a document, is drawn where it has one of these keys, whoever wrote
it; all else in it is shown as keys and values.

- ``marks``: pieces that make up the answer, ``[[text, kind], …]``. Kinds with a colour of their
  own: ``accepted``, ``rejected`` (a draft that was not kept, struck out) and ``written``; any other
  is shown with its name.
- ``tokens``: the pieces of a text, beside lists of as many numbers: each is drawn as a shade, the
  reader chooses which.
- ``deciding_text``: a passage of the row that decided, marked in it; ``sentences`` with a ``text``,
  a ``score`` and a ``deciding_text`` each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from harness.view.samples import Plain, Sample

_LEAST = 12
"""Characters of a passage that is looked for."""
_DEEPEST = 4
_SHORT = 20
_DRAWN = frozenset({"marks", "deciding_text", "sentences"})


def drawn(sample: Sample) -> tuple[list[Plain], list[Plain]]:
    """Drawings of a sample, and what else its traces say as keys and values."""
    drawings: list[Plain] = []
    facts: list[Plain] = []
    seen: list[dict[str, Plain]] = []
    for name, one in _sources(sample):
        if one in seen:
            continue
        seen.append(one)
        for path, part in _parts(one, name):
            drawings += _of(part, path, sample)
        rest = without_drawn(one)
        if rest and name == "trace":
            facts.append(rest)
    return drawings, facts


def _sources(sample: Sample) -> Iterator[tuple[str, dict[str, Plain]]]:
    for trace in sample.traces:
        yield "trace", trace
    for name, value in sample.metrics.items():
        if isinstance(value, dict):
            yield name, value


def _parts(value: Plain, path: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Plain]]]:
    """An object and the objects in it, with what they are called."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        yield path, value
        for key, one in value.items():
            yield from _parts(one, key, depth + 1)
    elif isinstance(value, list):
        for place, one in enumerate(value[:20]):
            if isinstance(one, dict):
                yield from _parts(one, f"{path} {place + 1}", depth + 1)


def _of(part: dict[str, Plain], path: str, sample: Sample) -> Iterator[Plain]:
    if isinstance(marks := part.get("marks"), list):
        pieces = [[str(one[0]), str(one[1])] for one in marks if _is_mark(one)]
        if pieces:
            yield {"kind": "marks", "title": path, "pieces": pieces}
    tokens = part.get("tokens")
    if isinstance(tokens, list) and tokens and all(isinstance(one, str) for one in tokens):
        lines = {key: one for key, one in part.items() if _are_numbers(one, len(tokens))}
        if lines:
            yield {"kind": "shades", "title": "each token", "tokens": tokens, "lines": lines}
    passage = part.get("deciding_text")
    if isinstance(passage, str) and len(passage) >= _LEAST:
        claim = part.get("text")
        title = "deciding passage" if not isinstance(claim, str) else f"decides “{claim}”"
        if isinstance(score := part.get("score"), (int, float)):
            title += f" · {score:.3f}"
        yield {"kind": "passage", "title": title, "pieces": _located(passage, sample.row)}


def _is_mark(one: Plain) -> bool:
    return isinstance(one, list) and len(one) >= 2 and all(isinstance(x, str) for x in one[:2])


def _are_numbers(value: Plain, count: int) -> bool:
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(one is None or isinstance(one, (int, float)) for one in value)


def _located(passage: str, row: dict[str, Any]) -> list[list[str]]:
    """The row's text that holds a passage, in three pieces; the passage alone if none does."""
    pattern = re.compile(r"\s+".join(re.escape(word) for word in passage.split()[:2_000]))
    for text in row.values():
        if isinstance(text, str) and (found := pattern.search(text)):
            start, end = found.span()
            pieces = [[text[:start], ""], [text[start:end], "deciding"], [text[end:], ""]]
            return [piece for piece in pieces if piece[0]]
    return [[passage, "deciding"]]


def without_drawn(value: Plain) -> Plain:
    """A value without what is drawn; of a long list of numbers, how many and their mean."""
    if isinstance(value, dict):
        found = {key: without_drawn(one) for key, one in value.items() if key not in _DRAWN}
        return {key: one for key, one in found.items() if one not in ({}, [], None)}
    if isinstance(value, list) and len(value) > _SHORT:
        numbers = [one for one in value if isinstance(one, (int, float))]
        mean = f", mean {math.fsum(numbers) / len(numbers):.4g}" if numbers else ""
        return f"{len(value):,} values{mean}"
    return value
