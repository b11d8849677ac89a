"""Whatever is done to a file that FactCG reads, or stands in an answer: one line, and soon."""

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
    *("LLM-AggreFact", "rows", "rows, CSV", "claims", "CG2C", "released", "training rows"),
    *("CoRe, WiCE", "CoRe, pairs", "MuSiQue", "HotpotQA", "documents", "generation", "training"),
    *("trainer state", "template"),
)
CHECKER = "checker"


def test_every_target_is_valid(valid: dict[str, Target]) -> None:
    assert {*NAMES, CHECKER} == set(valid)
    for target in valid.values():
        assert target.read()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_mangled_files_are_one_line(valid: dict[str, Target], name: str, random: Random) -> None:
    read_mangled(valid[name], random)


@settings(max_examples=12, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_mangled_checkers_are_one_line(valid: dict[str, Target], random: Random) -> None:
    read_mangled(valid[CHECKER], random)


PARTS = st.sampled_from(
    (
        *("```", "```json\n", "<think>", "</think>", "{", "}", "[", "]", '"', ":", ",", "\n", " "),
        *("\\ud83d", "\ud83d", "\\", "triples", "claim", "\x1b", "9" * 5000, '{"triples": [1]}'),
        *('{"claim": "Anna works in Rome."}', '{"sentences": [{"number": 1, "text": "Anna."}]}'),
        '{"sentences": [{"number": 99999999999999999999, "text": "Anna. Borealis"}]}',
    )
)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(answer=st.lists(PARTS, max_size=10).map("".join) | st.text())
def test_answers_are_read_or_not(name: str, answer: str) -> None:
    PARSERS[name](answer)


@pytest.mark.parametrize("part", ["{", "[", '{"a":', "```\n", "```json\n", "\n", " ", '"', "\\"])
def test_long_answers_take_no_time(part: str) -> None:
    for name, read in PARSERS.items():
        for answer in (part * (190_000 // len(part)), "```" + part * (190_000 // len(part)) + "x"):
            started = time.process_time()
            read(answer)
            assert time.process_time() - started < 1, (name, part)
