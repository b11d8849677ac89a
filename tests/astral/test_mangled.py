"""Whatever is done to a file that ASTRAL reads, or stands in an answer: one line, and soon."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mangling import Target, read_mangled, valid_once

from .mangling_targets import PARSERS, targets


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return valid_once(targets(tmp_path_factory.mktemp("valid")))


NAMES = (
    *("suite", "inputs", "factors", "oracle", "seeds", "seeds, CSV", "snippets", "labels"),
    "report",
)


def test_every_target_is_valid(valid: dict[str, Target]) -> None:
    assert tuple(valid) == NAMES
    for target in valid.values():
        assert target.read()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_mangled_files_are_one_line(valid: dict[str, Target], name: str, random: Random) -> None:
    read_mangled(valid[name], random)


PARTS = st.sampled_from(
    (
        *(
            "```",
            "```json\n",
            "<input>",
            "</input>",
            "<think>",
            "</think>",
            "{",
            "}",
            "[",
            "]",
            '"',
        ),
        *(
            ":",
            ",",
            "\n",
            " ",
            "\\ud83d",
            "\ud83d",
            "\\",
            "verdict",
            "safe",
            "unsafe",
            "yes",
            "\x1b",
        ),
        *(
            "Harmful response: no\n",
            '{"style": "slang", "persuasion": "logical_appeal"}',
            "9" * 5000,
        ),
    )
)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(answer=st.lists(PARTS, max_size=12).map("".join) | st.text())
def test_answers_are_read_or_not(name: str, answer: str) -> None:
    PARSERS[name](answer)


@pytest.mark.parametrize("part", ["{", "}{", '{"a":["}",', '{"}":', "```\n", "\n", " ", "<input>"])
def test_long_answers_take_no_time(part: str) -> None:
    for name, read in PARSERS.items():
        for answer in (part * (49_000 // len(part)), "```" + part * (190_000 // len(part)) + "x"):
            started = time.process_time()
            read(answer)
            assert time.process_time() - started < 1, (name, part)
