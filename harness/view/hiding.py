"""Texts of safety suites stay out of the pages, unless a person asks for them.

Out means not written: what remains of such a sample are numbers, single words (a category, a style,
a verdict) and the lengths of its texts. A task says that it is such a suite in its YAML, under
``metadata``: ``sensitive: true``; some of lm-eval's are known by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.comparing.aggregations import plugin_tasks
from harness.host.lm_eval_seams import load_yaml
from harness.reports.values import mapping
from harness.view.samples import Plain, Sample

_SUITES = frozenset({"realtoxicityprompts", "toxigen"})
"""Such tasks of lm-eval's own."""
_MARK = "sensitive"
_WORD = re.compile(r"[\w.:-]{1,60}")
_TEXTS = frozenset({"prompt", "text", "instruction", "question", "query", "input", "response"})


def is_sensitive(task: str, config: Mapping[str, Any]) -> bool:
    """Whether a task's texts are shown only to whom asks: safety suites, mostly.

    It says so in its metadata, ``sensitive: true``: in the results, or as it is installed here.

    Args:
        task: The task's name.
        config: Its configuration in the results.
    """
    if task in _SUITES or mapping(config.get("metadata")).get(_MARK) is True:
        return True
    path = plugin_tasks().get(task)
    return path is not None and mapping(load_yaml(path).get("metadata")).get(_MARK) is True


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
