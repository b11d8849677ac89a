from __future__ import annotations

import numpy as np
import pytest
from harness_factcg.checking import families
from harness_factcg.checking.chunking import chunks
from harness_factcg.checking.planning import Planner, batches, windows
from harness_factcg.checking.verdicts import Pair, prompt
from hypothesis import given
from hypothesis import strategies as st

from factcg.made_up import document
from harness.errors import HarnessError

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


def test_claims_are_asked_by_sentences(tokenizer):
    family = families.find("minicheck-7b").override(template="{document}|{claim}", chunk_size=20)
    two = "Anna lives in Rome. Ben sings."
    first, second = Pair(document(6), two), Pair(document(6), "Ben sings.")
    plan = Planner(tokenizer, family, max_length=512).plan([first, second])
    pieces = chunks(document(6), 20, " ")
    assert len(pieces) == 3
    asked = plan.asked[first]
    assert [part.sentence for part in asked] == ["Anna lives in Rome.", "Ben sings."]
    assert [part.pieces for part in asked] == [pieces, pieces]
    assert plan.asked[second] == asked[1:]
    for part in asked:
        for piece, place in zip(part.pieces, part.places, strict=True):
            assert text_of(tokenizer, plan.ids[place]) == f"{piece}|{part.sentence}"
    assert len(plan.ids) == 6
    margins = [0.1, 0.3, 0.2, -1.0, -2.0, -3.0]
    seconds = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    verdicts = dict(plan.verdicts(margins, seconds))
    worst = verdicts[first]
    assert (worst.margin, worst.deciding_chunk, worst.deciding_text) == (-1.0, 0, pieces[0])
    assert [s.margin for s in worst.sentences] == [0.3, -1.0]
    # three prompts of its own, and half of the three that both ask
    assert worst.seconds == 3 * 1.0 + 3 * 2.0 / 2
    assert verdicts[second].seconds == 3 * 2.0 / 2


def test_cut_keeps_what_stands_before_the_document(tokenizer):
    family = families.find("factcg").override(template="{claim}\nText: {document}\nSo?")
    pair = Pair(document(30), CLAIM)
    plan = Planner(tokenizer, family, max_length=150, overlong="cut").plan([pair])
    text = text_of(tokenizer, plan.ids[0])
    assert len(plan.ids[0]) == 150
    assert text.startswith(f"{CLAIM}\nText: Anna lives in Rome, near the old mill.\nBen")
    assert text.endswith("\nSo?")
    assert plan.cut == {0}


def test_a_character_of_many_tokens_is_cut(tokenizer):
    claim, letter = "A claim.", "\N{FAMILY}" * 40
    room = len(tokenizer(prompt("", claim))["input_ids"])
    plan = planner(tokenizer, max_length=room + 16).plan([Pair(letter, claim)])
    assert not plan.cut
    assert all(len(ids) <= room + 16 for ids in plan.ids)


def test_texts_that_cannot_be_asked(tokenizer):
    plain = planner(tokenizer, max_length=100)
    for pair, message in (
        (Pair(" \n", CLAIM), r"the document of the claim 'Anna lives in Rome\.' is empty"),
        (Pair("Anna.", "\t"), r"the claim on the document 'Anna\.' is empty"),
        (
            Pair("Anna.", "Rome, " * 99),
            r"claim 'Rome, .*claim and question take \d+ of the 100 tok",
        ),
    ):
        with pytest.raises(HarnessError, match=message):
            plain.plan([Pair(document(2), CLAIM), pair])


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=9), st.text("c", max_size=9))),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_windows_hold_each_pair_once_and_documents_together(rows, most, characters):
    pairs = [Pair(*row) for row in rows]
    found = list(windows(pairs, most=most, characters=characters))
    joined = [pair for window in found for pair in window]
    assert sorted(joined) == sorted(set(pairs))
    runs = [
        pair.document
        for k, pair in enumerate(joined)
        if k == 0 or joined[k - 1].document != pair.document
    ]
    assert runs == list(dict.fromkeys(pair.document for pair in pairs))
    for window in found:
        assert 1 <= len(window) <= most
        lengths = [len(pair.document) + len(pair.claim) for pair in window]
        assert len(window) == 1 or sum(lengths) <= characters
