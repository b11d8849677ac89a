"""Which tasks' texts are shown only to whom asks for them: those of safety suites.

A task says so in its YAML, under ``metadata``: ``texts: hidden``; some are known by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.reports.values import mapping

SUITES = frozenset({"astral_safety", "realtoxicityprompts", "toxigen"})
"""Tasks whose results do not say so themselves: lm-eval's, and ours of before they did."""


def is_hidden(task: str, config: Mapping[str, Any]) -> bool:
    """Whether a task's texts stay out unless a person asks for them.

    Args:
        task: Its name.
        config: Its configuration, as the results hold it.

    >>> is_hidden("mine", {"metadata": {"texts": "hidden"}}), is_hidden("arc_easy", {})
    (True, False)
    """
    return mapping(config.get("metadata")).get("texts") == "hidden" or task in SUITES
