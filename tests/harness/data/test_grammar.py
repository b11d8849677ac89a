"""``testbed_grammar``: minimal pairs that the grammar tells apart, and that models do."""

from __future__ import annotations

import lm_eval
import pytest

from harness.data.grammar import PAIRS, pairs
from harness.testbed import model_path
from harness.testbed.english.language import is_sentence

pytestmark = pytest.mark.long


def test_one_of_each_pair_is_a_sentence_and_the_words_are_the_same() -> None:
    rows = pairs()
    assert len(rows) == PAIRS and rows == pairs() and rows != pairs(seed=1)
    for row in rows:
        assert is_sentence(row["good"]) and not is_sentence(row["bad"])
        assert sorted(row["good"].split(" ")) == sorted(row["bad"].split(" "))
    assert {row["genre"] for row in rows[:3]} == {"text", "code", "math"}


@pytest.mark.parametrize(("name", "least", "most"), [("teacher", 0.93, 1.0), (None, 0.4, 0.6)])
def test_a_model_of_the_language_knows_and_one_of_none_guesses(name, least, most) -> None:
    args = {} if name is None else {"pretrained": str(model_path(name))}
    found = lm_eval.simple_evaluate(
        model="dummy" if name is None else "hf",
        model_args=args | ({"device": "cpu"} if name else {}),
        tasks=["testbed_grammar"],
        batch_size=64,
        bootstrap_iters=0,
    )
    assert found["n-samples"]["testbed_grammar"] == {"original": PAIRS, "effective": PAIRS}
    assert least <= found["results"]["testbed_grammar"]["acc,none"] <= most
    assert found["configs"]["testbed_grammar"]["metadata"]["data_source"] == "testbed"
