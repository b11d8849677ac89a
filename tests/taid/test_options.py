"""Options of a run of TAID's tasks, read once."""

from __future__ import annotations

import pytest
from harness_taid.options import ROWS, run_options

from harness import DataError


def test_what_a_run_says_and_what_it_leaves_out() -> None:
    plain = run_options({"data": "testbed", "pretrained": "m", "version": 1.0})
    assert (plain.data.kind, plain.rows, plain.along, plain.sample_seed) == (
        *("testbed", ROWS, "reference", 0),
    )
    told = run_options({"data": "hub", "taid_data": "testbed", "rows": 7, "along": "teacher"})
    assert (told.data.key, told.rows, told.along) == ("taid_data", 7, "teacher")


@pytest.mark.parametrize("key", ["taid_rows", "taid_nonsense", "sample_sed"])
def test_unknown_keys_are_refused(key: str) -> None:
    said = f"{key}=…: there is no such key; (did you mean|there are) "
    with pytest.raises(DataError, match=said):
        run_options({"data": "testbed", key: 5})
