"""Replies before they are read: without thoughts, bounded, in linear time."""

from __future__ import annotations

import doctest
import time

import pytest

from harness.asking import replies
from harness.asking.replies import LONGEST, fenced, spoken

pytestmark = pytest.mark.long


def test_examples() -> None:
    found = doctest.testmod(replies)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```\na\n```", ["a"]),
        ("x\n  ``` JSON \na\n\nb\n\t```\ny", ["a\n\nb"]),
        ("```json\r\n{}\r\n```", ["{}\r"]),
        ("```\n```", []),
        ("```python\na\n```", []),
        ("```\na", []),
        ("```\na\n```\n```\nb\n```", ["a", "b"]),
        ("a ``` b", []),
    ],
)
def test_fences(text: str, blocks: list[str]) -> None:
    assert fenced(text) == blocks


@pytest.mark.parametrize("part", ["```json\n", "```\n", "\n", " ", "<think>", "</think>", "{", "["])
def test_time_is_linear(part: str) -> None:
    reply = "```" + part * (LONGEST // len(part) - 2) + "\nx"
    started = time.process_time()
    fenced(spoken(reply))
    assert time.process_time() - started < 0.5
    assert spoken(reply + "x" * LONGEST) == ""
