"""Options of a run of speculative decoding's tasks, read once."""

from __future__ import annotations

import pytest
from harness_specdecode.options import DEFAULT_DRAWS, run_options

from harness import DataError


def test_lists_come_as_json_or_with_a_plus() -> None:
    plain = run_options({"data": "testbed", "gamma": 5, "drafter": "d"})
    assert plain.invariance_gammas == (1, 3, 5, 8) and plain.coupling_draws == DEFAULT_DRAWS
    told = run_options(
        {"data": "testbed", "invariance_gammas": "2+2+4", "invariance_drafters": ["ngram"]}
    )
    assert (told.invariance_gammas, told.invariance_drafters) == ((2, 4), ("ngram",))


@pytest.mark.parametrize("key", ["coupling_drws", "coupling_seed", "specbench_split2"])
def test_unknown_keys_are_refused(key: str) -> None:
    said = f"{key}=…: there is no such key; (did you mean|there are) "
    with pytest.raises(DataError, match=said):
        run_options({"data": "testbed", key: 5})
