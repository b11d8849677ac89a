from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from harness_factcg.chunking import chunks
from harness_factcg.scoring import (
    Pair,
    Planner,
    Verdict,
    batches,
    log_odds,
    log_sigmoid,
    prompt,
    supported_label,
)
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.testbed.facts import FACT_TEMPLATE

from .made_up import document

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


def test_verdict_is_the_best_chunks():
    verdict = Verdict.over([-1.0, 2.0, 2.0], False)
    assert verdict == Verdict(2.0, 3, 1, False)
    assert verdict.trace() == {
        "score": pytest.approx(0.8808, abs=1e-4),
        "chunks": 3,
        "deciding_chunk": 1,
        "truncated": False,
    }


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_hold_everything_once_within_the_budget(lengths, budget):
    found = batches(lengths, budget)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
    tops = [lengths[batch[0]] for batch in found]
    assert tops == sorted(tops, reverse=True)


def planner(tokenizer, **options):
    return Planner(tokenizer, **{"max_length": 512, "chunk_size": 550} | options)


def text_of(tokenizer, ids):
    return tokenizer.decode(ids[1:-1])


def test_pieces_are_the_documents_chunks(tokenizer):
    pair = Pair(document(12), CLAIM)
    plan = planner(tokenizer, chunk_size=40).plan([pair])
    expected = [prompt(chunk, CLAIM) for chunk in chunks(pair.document, 40)]
    assert len(expected) > 1
    assert [text_of(tokenizer, plan.ids[k]) for k in plan.pieces[pair]] == expected
    assert not plan.cut


def test_equal_pieces_are_encoded_once(tokenizer):
    first, second = Pair(document(3), CLAIM), Pair(document(3) + "\n" + document(3), CLAIM)
    third = Pair(document(3), "Ben lives in Rome.")
    plan = planner(tokenizer, chunk_size=30).plan([first, second, third, first])
    assert len(plan.pieces) == 3
    assert plan.pieces[second] == plan.pieces[first] * 2
    assert len(plan.ids) == 2


def test_a_long_chunk_is_split_and_nothing_is_lost(tokenizer):
    pair = Pair(document(30), CLAIM)
    for max_length in (100, 150, 300):
        plan = planner(tokenizer, max_length=max_length).plan([pair])
        texts = [text_of(tokenizer, plan.ids[k]) for k in plan.pieces[pair]]
        assert all(len(ids) <= max_length for ids in plan.ids)
        assert all(text.endswith(prompt("", CLAIM)) for text in texts)
        pieces = [text.removesuffix(prompt("", CLAIM)) for text in texts]
        assert " ".join(pieces).split() == pair.document.split()
        assert not plan.cut


def test_a_text_without_spaces_is_split(tokenizer):
    pair = Pair("x" * 3000, CLAIM)
    plan = planner(tokenizer, max_length=100).plan([pair])
    texts = [text_of(tokenizer, plan.ids[k]) for k in plan.pieces[pair]]
    assert "".join(text.removesuffix(prompt("", CLAIM)) for text in texts) == "x" * 3000


def test_cut_drops_the_end_of_the_document_alone(tokenizer):
    short, long = Pair(document(1), CLAIM), Pair(document(30), CLAIM)
    plan = planner(tokenizer, max_length=150, overlong="cut").plan([short, long])
    (place,) = plan.pieces[long]
    assert plan.cut == {place}
    assert len(plan.ids[place]) == 150
    assert plan.ids[place][[0, -1]].tolist() == [1, 2]
    text = text_of(tokenizer, plan.ids[place])
    assert text.endswith(prompt("", CLAIM))
    kept = text.removesuffix(prompt("", CLAIM))
    assert "\n".join(chunks(long.document)).startswith(kept)
    assert len(kept) > 100


def test_room(tokenizer):
    found = planner(tokenizer, max_length=200).room([CLAIM, CLAIM * 9])
    whole = len(tokenizer(prompt("", CLAIM))["input_ids"])
    assert found[0] == 200 - whole
    assert found[1] < found[0]


def test_ids_are_what_the_tokenizer_gives(tokenizer):
    pair = Pair("Anna lives in Rome.  Ben too.", CLAIM)
    plan = planner(tokenizer).plan([pair])
    whole = tokenizer(prompt("Anna lives in Rome.\nBen too.", CLAIM))["input_ids"]
    np.testing.assert_array_equal(plan.ids[0], whole)
