"""Options of a run of FactCG's tasks, read once."""

from __future__ import annotations

import pytest
from harness_factcg.options import run_options

from harness import DataError


def test_what_a_run_says_and_what_it_leaves_out() -> None:
    plain = run_options({"pretrained": "m"})
    assert plain.sources() == {} and plain.aggrefact_split is None and plain.core_split == "test"
    told = run_options({"data": "testbed", "core_data": "f", "aggrefact_split": "dev"})
    assert told.sources() == {"data": "testbed", "core_data": "f"}
    assert told.aggrefact_split == "dev"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"core_split": "train"}, "^core_split=train: use one of test, dev$"),
        ({"aggrefact_splt": "dev"}, r"aggrefact_splt=…: .* did you mean aggrefact_split\?"),
    ],
)
def test_what_is_none_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_options(given)
