"""Texts of safety suites stay out of the pages, unless a person asks for them.

Out means not written: what remains of such a sample are numbers, single words (a category, a style,
a verdict) and the lengths of its texts. A task says that it is such a suite in its YAML, under
``metadata``: ``texts: hidden``; some of lm-eval's are known by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.view.samples import Plain, Sample

SUITES = frozenset({"astral_safety", "realtoxicityprompts", "toxigen"})
"""Tasks whose results, of before they said so themselves, hold texts to be hidden."""
_WORD = re.compile(r"[\w.:-]{1,60}")
_TEXTS = frozenset({"prompt", "text", "instruction", "question", "query", "input", "response"})


def is_hidden(task: str, config: Mapping[str, Any]) -> bool:
    """Whether a task's texts stay out."""
    metadata = config.get("metadata")
    said = isinstance(metadata, dict) and metadata.get("texts") == "hidden"
    return said or task in SUITES


def hidden(sample: Sample) -> Sample:
    """A sample without its texts."""
    return replace(
        sample,
        row=_kept(sample.row),
        target=sample.target if _WORD.fullmatch(sample.target) else "",
        prompt=_length(sample.prompt),
        options=[(_length(words), value) for words, value in sample.options],
        answers=[_length(answer) for answer in sample.answers],
        filtered=[],
        metrics={name: _kept(value) for name, value in sample.metrics.items()},
        reasons={},
        traces=[_kept(trace) for trace in sample.traces],
    )


def _length(words: str) -> str:
    return f"[hidden: {len(words):,} characters]"


def _kept(value: Plain, name: str = "") -> Plain:
    """What of a value is no text; None for the rest."""
    if isinstance(value, dict):
        kept = {key: _kept(one, key) for key, one in value.items() if _WORD.fullmatch(key)}
        return {key: one for key, one in kept.items() if one is not None}
    if isinstance(value, list):
        return None
    if isinstance(value, str):
        return value if name not in _TEXTS and _WORD.fullmatch(value) else None
    return value
