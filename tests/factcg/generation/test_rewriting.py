"""Sentences rewritten one by one: all else stays, and what is no removal is told apart."""

from __future__ import annotations

import doctest

import pytest
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.generation import rewriting
from harness_factcg.generation.rewriting import Passage, names, trouble
from hypothesis import given
from hypothesis import strategies as st

TEXT = Passage.of("Anna works for Borealis.  Dr. Ben does too!\nBorealis is in Rome.")
PAIR = ("Anna", "Borealis", "Anna works for Borealis.")


def test_the_modules_example() -> None:
    assert doctest.testmod(rewriting).failed == 0


def test_all_but_the_sentence_stays() -> None:
    assert TEXT.sentences == (
        "Anna works for Borealis.",
        "Dr. Ben does too!",
        "Borealis is in Rome.",
    )
    assert TEXT.rewritten({2: "Ben rests."}) == (
        "Anna works for Borealis.  Ben rests.\nBorealis is in Rome."
    )
    assert TEXT.rewritten({}) == TEXT.text
    with pytest.raises(KeyError, match="no sentence 4"):
        TEXT.rewritten({4: "Ben rests."})


def test_only_evidence_is_numbered_and_rewritten() -> None:
    texts = ("It rains. Rome is old.", "It rains.", "It rains. Ben sings.")
    passage = Passage(texts, (True, False, True))
    assert passage.sentences == ("It rains.", "Rome is old.", "It rains.", "Ben sings.")
    assert passage.shown == "It rains. Rome is old.\nIt rains. Ben sings."
    assert passage.rewritten({3: "It snows."}) == (
        "It rains. Rome is old.\nIt rains.\nIt snows. Ben sings."
    )


def test_names_are_whole_words() -> None:
    assert names("In New  York,\nsays Anna.", "new york")
    assert names("It is Borealis, Inc.", "Borealis, Inc.")
    assert not names("Borealis is big.", "Borealis, Inc.")
    assert not names("Annabel.", "Anna") and not names("Anna.", " ")
    assert (
        names("50% (fifty) of C++ users", "C++") and names("a.b", "a.b") and not names("axb", "a.b")
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({1: "Anna has heard of Borealis."}, ""),
        ({1: "Anna has heard of Borealis.", 2: "Dr. Ben is fine!"}, ""),
        ({}, "no sentence is changed"),
        ({9: "Anna."}, "there is no sentence 9"),
        ({2: "Ben is well!"}, "no sentence is changed that names 'Anna' and 'Borealis'"),
        ({1: "Anna works for Borealis"}, "sentence 1 has the same words as before"),
        ({1: "ANNA  works, for Borealis!"}, "sentence 1 has the same words as before"),
        ({1: "She has heard of Borealis."}, "sentence 1 no longer names 'Anna'"),
        ({1: "Anna has heard of it."}, "sentence 1 no longer names 'Borealis'"),
        ({1: "Anna rests. Borealis is big."}, "sentence 1 is not one sentence any more"),
        ({1: "Anna rests\nand so does Borealis."}, "sentence 1 is not one sentence any more"),
        ({1: "Anna and Borealis " + "too " * 20}, "sentence 1 has 23 words, not about 4"),
        ({1: "So Anna works for Borealis."}, "the relation's sentence is still there"),
    ],
)
def test_what_removes_a_relation_and_what_does_not(changes: dict[int, str], reason: str) -> None:
    assert trouble(TEXT, changes, *PAIR) == reason


def test_an_entity_may_not_vanish_from_the_text() -> None:
    passage = Passage.of("He works for Borealis. Anna is his name.")
    told = ("Anna", "Borealis", "Anna works for Borealis.")
    assert trouble(passage, {1: "He knows Borealis."}, *told) == ""
    assert trouble(passage, {1: "He has a job."}, *told) == "sentence 1 no longer names 'Borealis'"
    told = ("Clara", "Borealis", "Clara runs Borealis.")
    assert trouble(passage, {1: "He knows Borealis."}, *told) == "'Clara' is gone"


def test_a_sentence_that_runs_into_the_next_is_refused() -> None:
    passage = Passage.of("Anna works for Borealis. Rome is old.")
    reason = trouble(passage, {1: "Anna has heard of Borealis"}, *PAIR)
    assert reason == "the number of sentences has changed"


@given(
    st.lists(st.text(st.sampled_from("ab .!?\nA"), max_size=30), min_size=1, max_size=4), st.data()
)
def test_every_character_outside_a_change_stays(texts: list[str], data: st.DataObject) -> None:
    flags = tuple(data.draw(st.booleans()) for _ in texts)
    passage = Passage(tuple(texts), flags)
    assert passage.rewritten({}) == passage.text
    assert list(passage.sentences) == split_sentences(passage.shown)
    if passage.sentences:
        place = data.draw(st.integers(1, len(passage.sentences)))
        old = passage.sentences[place - 1]
        new = passage.rewritten({place: "@"})
        assert new.count("@") == 1 and new.replace("@", old) == passage.text
