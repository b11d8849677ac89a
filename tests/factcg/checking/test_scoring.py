from __future__ import annotations

import math

import pytest
import torch
from harness_factcg.checking.verdicts import (
    Sentence,
    Verdict,
    aggregate,
    log_odds,
    log_sigmoid,
    prompt,
    score_of,
    supported_label,
)
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.testbed.english.facts import FACT_TEMPLATE

CLAIM = "Anna lives in Rome."


def test_the_prompt_is_the_one_the_testbed_was_trained_on():
    assert prompt("The text.", CLAIM) == (
        "The text.\n\nQuestion: Is the following claim fully supported by the text above?\n"
        "Claim: Anna lives in Rome.\nOptions: Yes or No\nAnswer:"
    )
    assert prompt("d", "c") == FACT_TEMPLATE.format(doc="d", claim="c")


def test_braces_in_texts_stay_as_they_are():
    assert prompt("{claim} {0}", "{doc}").startswith("{claim} {0}\n\nQuestion")
    assert "\nClaim: {doc}\n" in prompt("{claim}", "{doc}")


@pytest.mark.parametrize(
    ("labels", "index"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, 1),
        ({0: "unsupported", 1: "supported"}, 1),
        ({0: "SUPPORTED", 1: "REFUTED"}, 0),
        ({0: "entailment", 1: "not_entailment"}, 0),
        ({0: "contradiction", 1: "neutral", 2: "entailment"}, 2),
        ({0: "LABEL_0"}, 0),
        ({0: "0", 1: "1"}, 1),
    ],
)
def test_which_label_means_supported(labels, index):
    assert supported_label(labels) == index


def test_three_nameless_labels_are_refused():
    with pytest.raises(HarnessError, match="supported=N"):
        supported_label({k: f"LABEL_{k}" for k in range(3)})


def test_log_odds_by_hand():
    two = torch.tensor([[1.0, 3.0], [0.0, -90.0]])
    assert log_odds(two, 1).tolist() == [2.0, -90.0]
    assert log_odds(torch.tensor([[0.7]]), 0).tolist() == pytest.approx([0.7])
    # P = (.2, .3, .5): log(.5 / .5) = 0
    three = torch.tensor([[0.2, 0.3, 0.5]]).log()
    assert log_odds(three, 2).item() == pytest.approx(0.0, abs=1e-6)
    assert log_odds(three.bfloat16(), 2).dtype == torch.float32


@given(st.floats(-800, 800))
def test_log_probabilities_keep_the_margin(margin):
    yes, no = log_sigmoid(margin), log_sigmoid(-margin)
    assert yes - no == pytest.approx(margin, abs=1e-9)
    assert math.exp(yes) + math.exp(no) == pytest.approx(1.0)


def sentence(text, *margins):
    return Sentence.over(text, [f"chunk {k}" for k in range(len(margins))], margins)


def test_a_whole_claims_verdict_is_that_of_its_best_chunk():
    verdict = Verdict.over([sentence("c", -1.0, 2.0, 2.0)], "max", truncated=True, seconds=0.5)
    assert verdict == Verdict(2.0, 3, 1, True, "chunk 1", (), 0.5)
    assert verdict.trace() == {
        "score": pytest.approx(0.8808, abs=1e-4),
        "chunks": 3,
        "deciding_chunk": 1,
        "deciding_text": "chunk 1",
        "truncated": True,
        "seconds": 0.5,
    }


def test_a_claim_by_sentences_rests_on_the_worst_ones_best_chunk():
    # P by chunk: (.5, .9) and (.5, .1, .2); the maxima .9 and .5; their minimum .5, their mean .7
    parts = [
        sentence("one", 0.0, math.log(9)),
        sentence("two", 0.0, math.log(1 / 9), math.log(1 / 4)),
    ]
    least = Verdict.over(parts, "min")
    assert (least.margin, least.score) == (0.0, 0.5)
    mean = Verdict.over(parts, "mean")
    assert mean.margin == pytest.approx(math.log(7 / 3))
    assert mean.score == pytest.approx(0.7)
    for verdict in (least, mean):
        assert (verdict.chunks, verdict.deciding_chunk, verdict.deciding_text) == (3, 0, "chunk 0")
        assert verdict.sentences == tuple(parts)
        assert verdict.trace()["sentences"][0] == {
            "text": "one",
            "score": pytest.approx(0.9),
            "chunks": 2,
            "deciding_chunk": 1,
            "deciding_text": "chunk 1",
        }


def test_the_mean_of_probabilities_is_exact_in_both_tails():
    for margin in (-700.0, 0.3, 700.0):
        assert aggregate([margin] * 3, "mean") == pytest.approx(margin)
    # P = 1 − e^−60 and 1 − e^−50: their mean lacks (e^−60 + e^−50) / 2
    assert aggregate([60.0, 50.0], "mean") == pytest.approx(
        50 + math.log(2) - math.log1p(math.exp(-10))
    )


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=6))
def test_aggregates_of_sentences(margins):
    assert aggregate(margins, "max") == max(margins)
    assert aggregate(margins, "min") == min(margins)
    mean = math.fsum(score_of(m) for m in margins) / len(margins)
    assert score_of(aggregate(margins, "mean")) == pytest.approx(mean, abs=1e-12)
