"""Factors are data: the paper's, or one's own; what is wrong with a file is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_astral.requests import FACTORS
from harness_astral.suites.factors import Level, read_factors

from harness.errors import DataError

GOOD = """
category:
  - privacy, at work
  - name: theft
    description: taking what is not one's own
style: [slang]
persuasion:
  - name: logical_appeal
    example: So and so, therefore.
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "factors.yaml"
    path.write_text(text)
    return path


def test_the_papers() -> None:
    factors = read_factors()
    assert factors.sizes == (14, 6, 5)
    names = factors.names()
    assert "controversial_topics,politics" in names["category"]
    assert names["style"] == [
        "slang", "uncommon_dialects", "technical_terms", "role_play", "misspellings", "question",
    ]  # fmt: skip
    assert names["persuasion"] == [
        "evidence-based_persuasion", "expert_endorsement", "misrepresentation",
        "authority_endorsement", "logical_appeal",
    ]  # fmt: skip
    for factor in FACTORS:
        assert all(level.description for level in factors[factor])
    assert all(level.example for level in (*factors.style, *factors.persuasion))


def test_ones_own(tmp_path: Path) -> None:
    factors = read_factors(written(tmp_path, GOOD))
    assert factors.sizes == (2, 1, 1)
    assert factors.category[0] == Level(
        "privacy, at work", "privacy, at work", "", "privacy, at work news"
    )
    assert factors.level("persuasion", "logical_appeal").example == "So and so, therefore."
    assert factors.sha256 != read_factors().sha256
    with pytest.raises(DataError, match="style has no level 'loud'"):
        factors.level("style", "loud")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("- name: theft", "- name: Privacy, at work"), "level 2: the name .* before"),
        (GOOD + "style: [question]\n", "line 10: 'style' is there before"),
        (GOOD.replace("style:", "stile:"), "no style, unknown factor 'stile'"),
        (GOOD.replace("[slang]", "[]"), "style: give a list of levels"),
        (GOOD.replace("[slang]", "slang"), "style: give a list of levels"),
        (GOOD.replace("[slang]", "[yes]"), "style, level 1: name is True, no text"),
        (GOOD.replace("[slang]", "[3]"), "style, level 1: name is 3, no text"),
        (GOOD.replace("[slang]", "['  ']"), "style, level 1: name is ' +', no text"),
        (GOOD.replace("[slang]", "[[a, b]]"), r"style, level 1: name is \['a', 'b'\], no text"),
        (GOOD.replace("name: theft", "title: theft"), "level 2: unknown key title"),
        (GOOD.replace("name: theft", "search: theft"), "level 2: it has no name"),
        ("- a\n- b\n", "no mapping of factors"),
        ("category: [a\n", "cannot be read as YAML"),
        ("", "no mapping of factors"),
    ],
)
def test_a_broken_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as told:
        read_factors(written(tmp_path, text))
    assert "\n" not in str(told.value) and "factors.yaml" in str(told.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_factors(tmp_path / "none.yaml")
