"""Small facts of a sample that a page filters and sorts by, without its texts.

A sample's score is its value of the task's headline metric; where that is an object, the number in
it that is named so, else whether a ``margin`` is on the side of a 0/1 ``label``, else the worst of
the judge's ratings. It is wrong where that is the worst there is: 0 where more is better, 1 where
less is.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.reports.values import real
from harness.view.samples import Sample

METHOD_KEYS = ("factor", "steering_prompt")
"""Keys of a row that say how a method acts on a document, not which document it is."""
WRONG, UNSCORED = 1, 2
_NAMES = ("question", "instruction", "claim", "query", "prompt", "input", "text", "sentence")
_SNIPPET = 110


@dataclass(frozen=True, slots=True)
class Headline:
    """A task's headline metric in one run.

    Args:
        metric: Its name.
        filter: lm-eval's filter.
        up: Whether more is better; None where that is not known.
    """

    metric: str
    filter: str
    up: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page knows of a sample before its texts are loaded.

    Args:
        score: Its score; None where there is none.
        flags: ``WRONG``, ``UNSCORED``, or none of them.
        answer: A checksum of the answer, to see whether runs differ.
        factor: The method's factor, where the row has one.
    """

    score: float | None
    flags: int
    answer: int
    factor: float | None


def facts_of(sample: Sample, headline: Headline | None) -> Facts:
    """The facts of a sample."""
    score = None if headline is None else _score(sample, headline)
    unscored = sample.judged and any(value is None for value in sample.ratings.values())
    known = headline is not None and headline.metric in sample.metrics
    unscored = unscored or (known and sample.metrics[headline.metric] is None)  # type: ignore[union-attr]
    flags = UNSCORED * unscored
    if headline is not None and score is not None and not unscored:
        flags |= WRONG * (score == (1 if headline.up is False else 0))
    return Facts(
        score, flags, zlib.crc32(answer_of(sample).encode()), _number(sample.row, "factor")
    )


def answer_of(sample: Sample) -> str:
    """What the model said: its words, or the continuation that it finds likeliest."""
    known = [(value, words) for words, value in sample.options if value is not None]
    return max(known)[1] if known else "\n".join(sample.answers)


def snippet(sample: Sample, *, texts: bool = True) -> str:
    """A few words that tell a document from others."""
    if not texts:
        return ""
    row = sample.row
    named = (row[name] for name in _NAMES if isinstance(row.get(name), str))
    longest = max((one for one in row.values() if isinstance(one, str)), key=len, default="")
    words = next((one for one in named if one.strip()), "") or longest or sample.prompt[-300:]
    return " ".join(words[:400].split())[:_SNIPPET]


def _score(sample: Sample, headline: Headline) -> float | None:
    value = sample.metrics.get(headline.metric)
    if sample.filter != headline.filter or value is None:
        return None
    if isinstance(value, (bool, int, float)):
        return _rounded(real(value))
    if isinstance(value, dict):
        if (own := _number(value, headline.metric)) is not None:
            return _rounded(own)
        margin, label = _number(value, "margin"), value.get("label")
        if margin is not None and label in (0, 1):
            return float((margin > 0) == (label == 1))
    given = [one for one in sample.ratings.values() if one is not None]
    if given:
        return max(given) if headline.up is False else min(given)
    return _rounded(_number(value, "score")) if isinstance(value, dict) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return None if isinstance(value, (bool, str)) else real(value)
