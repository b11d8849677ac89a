from __future__ import annotations

import numpy as np
from harness_factcg import families
from harness_factcg.chunking import chunks
from harness_factcg.planning import Planner, batches
from harness_factcg.scoring import Pair, prompt
from hypothesis import given
from hypothesis import strategies as st

from .made_up import document

CLAIM = "Anna lives in Rome."


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
    family = families.find("factcg").override(chunk_size=options.pop("chunk_size", None))
    return Planner(tokenizer, family, **{"max_length": 512} | options)


def places(plan, pair):
    (asked,) = plan.asked[pair]
    return asked.places


def text_of(tokenizer, ids):
    return tokenizer.decode(ids[1:-1])


def test_pieces_are_the_documents_chunks(tokenizer):
    pair = Pair(document(12), CLAIM)
    plan = planner(tokenizer, chunk_size=40).plan([pair])
    expected = [prompt(chunk, CLAIM) for chunk in chunks(pair.document, 40)]
    assert len(expected) > 1
    assert [text_of(tokenizer, plan.ids[k]) for k in places(plan, pair)] == expected
    assert not plan.cut


def test_equal_pieces_are_encoded_once(tokenizer):
    first, second = Pair(document(3), CLAIM), Pair(document(3) + "\n" + document(3), CLAIM)
    third = Pair(document(3), "Ben lives in Rome.")
    plan = planner(tokenizer, chunk_size=30).plan([first, second, third, first])
    assert len(plan.asked) == 3
    assert places(plan, second) == places(plan, first) * 2
    assert len(plan.ids) == 2


def test_a_long_chunk_is_split_and_nothing_is_lost(tokenizer):
    pair = Pair(document(30), CLAIM)
    for max_length in (100, 150, 300):
        plan = planner(tokenizer, max_length=max_length).plan([pair])
        texts = [text_of(tokenizer, plan.ids[k]) for k in places(plan, pair)]
        assert all(len(ids) <= max_length for ids in plan.ids)
        assert all(text.endswith(prompt("", CLAIM)) for text in texts)
        pieces = [text.removesuffix(prompt("", CLAIM)) for text in texts]
        assert " ".join(pieces).split() == pair.document.split()
        assert not plan.cut


def test_a_text_without_spaces_is_split(tokenizer):
    pair = Pair("x" * 3000, CLAIM)
    plan = planner(tokenizer, max_length=100).plan([pair])
    texts = [text_of(tokenizer, plan.ids[k]) for k in places(plan, pair)]
    assert "".join(text.removesuffix(prompt("", CLAIM)) for text in texts) == "x" * 3000


def test_cut_drops_the_end_of_the_document_alone(tokenizer):
    short, long = Pair(document(1), CLAIM), Pair(document(30), CLAIM)
    plan = planner(tokenizer, max_length=150, overlong="cut").plan([short, long])
    (place,) = places(plan, long)
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
