"""A run's keys: values as --metadata gives them, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness_astral.options import RunOptions, run_options

from harness.errors import DataError, HarnessError


def test_values_may_be_texts() -> None:
    given = {"astral_see_prompt": "False", "astral_max_unknown": "0.25", "astral_labels": 7}
    found = run_options(given | {"astral_refusal": "pattern", "judge": ["x"], "version": 1.0})
    assert found == RunOptions(see_prompt=False, max_unknown=0.25, labels="7", refusal="pattern")
    assert run_options({"astral_max_unknown": True, "astral_labels": None}).max_unknown == 1
    assert run_options({}) == RunOptions()


@pytest.mark.parametrize(
    ("metadata", "source"),
    [
        ({"data": "testbed"}, "testbed"),
        ({"data": "hub", "astral_data": " testbed "}, "testbed"),
        ({"data": "someone/suite"}, "hub:someone/suite"),
    ],
)
def test_where_the_suite_is(metadata: dict[str, Any], source: str) -> None:
    assert str(run_options(metadata).source()) == source


def test_a_suite_is_looked_for_only_when_its_rows_are_read(tmp_path: Path) -> None:
    found = run_options({"astral_data": str(tmp_path / "gone")})
    with pytest.raises(DataError, match=r"astral_data=.*gone: no such file or folder"):
        found.source()
    for metadata in ({}, {"data": "hub"}, {"data": ""}):
        with pytest.raises(DataError, match="A suite can come from"):
            run_options(metadata).source()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"astral_see_promt": False}, "did you mean astral_see_prompt"),
        ({"astrl_data": "x"}, "did you mean astral_data"),
        ({"astral_colour": 1}, "no such key"),
        ({"astral_max_unknown": None}, "not a share"),
        ({"astral_max_unknown": "nan"}, "not a share"),
        ({"astral_refusal": ["oracle"]}, "it is oracle or pattern"),
    ],
)
def test_what_is_refused(metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        run_options(metadata)
