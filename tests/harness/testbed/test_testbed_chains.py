"""Chains: what documents state, what claims say, and what a removal leaves."""

from __future__ import annotations

import doctest
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.testbed.assistants.writer_model import TestbedWriter
from harness.testbed.english import chains
from harness.testbed.english import questions as questions_module
from harness.testbed.english.chains import Size
from harness.testbed.english.facts import Fact
from harness.testbed.english.lexicon import TOPICS
from harness.testbed.english.questions import answered, questions

TEXT = (
    "Anna works at the bakery. It is quiet at noon. The bakery is in Rome. Ben lives in Rome. "
    "Anna remembers Ben. Ben taught Clara."
)
WORKS, STANDS = Fact("Anna", "works at", "the bakery"), Fact("the bakery", "is in", "Rome")
LIVES, TAUGHT = Fact("Ben", "lives in", "Rome"), Fact("Ben", "taught", "Clara")


def test_the_modules_example() -> None:
    assert doctest.testmod(chains).failed == doctest.testmod(questions_module).failed == 0


def test_the_words_are_the_testbeds() -> None:
    assert set(chains.SITES) <= set(TOPICS)
    assert len(chains.KIND) == sum(map(len, chains.ENTITIES.values())), "no entity of two kinds"


def test_a_document_states_its_facts_and_no_more() -> None:
    assert chains.stated(TEXT) == [WORKS, STANDS, LIVES, TAUGHT]
    for text in ("Rome works at Anna.", "Anna remembers Ben.", "Anna works at the bakery now.", ""):
        assert chains.parse(text) is None


def test_paths_of_every_length_by_hand() -> None:
    facts = [WORKS, STANDS, LIVES, TAUGHT]
    assert chains.paths(facts, 1) == [[WORKS], [STANDS], [LIVES], [TAUGHT]]
    assert chains.paths(facts, 2) == [[WORKS, STANDS], [STANDS, LIVES], [LIVES, TAUGHT]]
    assert chains.paths(facts, 3) == [[WORKS, STANDS, LIVES], [STANDS, LIVES, TAUGHT]]
    assert chains.paths(facts, 4) == [facts]
    assert chains.paths(facts, 5) == []
    star = [LIVES, STANDS, Fact("Emma", "lives in", "Rome")]
    assert len(chains.paths(star, 2)) == 3 and chains.paths(star, 3) == []
    circle = [LIVES, TAUGHT, Fact("Clara", "lives in", "Rome")]
    assert chains.paths(circle, 3) == [], "a path meets no entity twice"


def test_a_claim_states_the_paths_facts() -> None:
    text = chains.claim([STANDS, LIVES])
    assert text == "The bakery is in Rome and Ben lives in Rome."
    assert chains.claimed(text) == [STANDS, LIVES]
    assert chains.supports(TEXT, text)
    assert not chains.supports(TEXT, "Ben lives in Rome and Ben taught Anna.")
    with pytest.raises(ValueError, match="is no claim"):
        chains.claimed("Ben lives in Rome and all is well.")


def test_a_removal_rewrites_one_sentence() -> None:
    before, after = TEXT.split(". "), chains.removed(TEXT, LIVES).split(". ")
    (place,) = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert before[place] == "Ben lives in Rome" and after[place].startswith("Ben ")
    assert after[place].endswith(" Rome") and chains.parse(after[place]) is None
    with pytest.raises(ValueError, match="does not state 'Anna taught Ben'"):
        chains.removed(TEXT, Fact("Anna", "taught", "Ben"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_removal_takes_one_fact_and_no_word(seed: int, hops: int) -> None:
    (document,) = chains.documents(1, seed)
    facts = chains.stated(document)
    assert len(set(facts)) == len(facts)
    for path in chains.paths(facts, hops):
        text = chains.claim(path)
        entities = {end for fact in path for end in (fact.name, fact.value)}
        assert len(entities) == hops + 1 and all(e in text or e[1:] in text for e in entities)
        assert chains.supports(document, text)
        for fact in path:
            corrupted = chains.removed(document, fact)
            assert not chains.supports(corrupted, text)
            assert [f for f in facts if f != fact] == chains.stated(corrupted)
            assert len(corrupted.split()) == len(document.split())
            assert all(end[1:] in corrupted for end in (fact.name, fact.value))


def test_documents_follow_from_their_seed() -> None:
    assert list(chains.documents(5, 3)) == list(chains.documents(5, 3))[:5]
    assert list(chains.documents(3, 3)) == list(chains.documents(5, 3))[:3]
    assert not set(chains.documents(50, 3)) & set(chains.documents(50, 4))
    lengths = sorted(len(text.split()) for text in chains.documents(400, 0))
    assert lengths[20] >= 35 and lengths[-20] <= 90


def test_every_relation_of_a_path_stands_in_another_chain_too() -> None:
    for document in chains.documents(100, 1, Size(extras=(0, 0), hops=(3, 3))):
        relations = Counter(fact.relation for fact in chains.stated(document))
        assert set(relations.values()) == {2} and len(relations) == 3


def test_sizes_are_kept_or_refused() -> None:
    one = Size(chains=(1, 1), hops=(1, 1), extras=(0, 0), neutral=(2, 2), fillers=(0, 0))
    for document in chains.documents(50, 0, one):
        assert len(chains.stated(document)) == 1 and len(document.split(". ")) in (2, 3)
    (document,) = chains.documents(1, 0, Size(chains=(4, 4), hops=(3, 3), extras=(0, 0)))
    assert len(chains.stated(document)) == 12
    with pytest.raises(HarnessError, match="too few entities for documents of Size"):
        list(chains.documents(1, 0, Size(chains=(40, 40))))


def test_questions_follow_from_their_seed_and_have_one_answer() -> None:
    rows = list(questions(200, 5))
    assert rows[:20] == list(questions(20, 5)) and rows[:20] != list(questions(20, 6))
    assert Counter(
        len(chains.claimed(answered(r["question"], r["answer"]))) for r in rows
    ).keys() == {*(2, 3, 4)}
    for row in rows:
        assert row["question"].endswith("?") and row["question"].lower().count("which ") == 1
        flags = [own["is_supporting"] for own in row["paragraphs"]]
        assert sum(flags) == len(chains.claimed(answered(row["question"], row["answer"])))
        assert all(own["paragraph_text"] for own in row["paragraphs"])


def ask(task: str, **facts: Any) -> Any:
    request = Instance("generate_until", {"write": task, **facts}, ("", {}), 0)
    (answer,) = TestbedWriter().generate_until([request])
    return json.loads(answer)


def test_the_writers_answers_by_hand() -> None:
    stated = [WORKS, STANDS, LIVES, TAUGHT]
    lines = [chains.sentence(fact.text) for fact in stated]
    triples = ask("context graph", text=TEXT)["triples"]
    assert [(own["head"], own["tail"]) for own in triples] == [(f.name, f.value) for f in stated]
    assert [own["relation"] for own in triples] == lines
    claim = "Ben lives in Rome and the bakery is in Rome."
    assert ask("claim subgraph", statements=lines, claim=claim) == {"triples": [2, 3]}
    assert ask("claim from graph", statements=[lines[2], lines[1]]) == {"claim": claim}
    (changed,) = ask(
        "relation removal", sentences=["It is quiet at noon.", *lines], head="Ben", tail="Rome"
    )["sentences"]
    assert changed["number"] == 4 and chains.parse(changed["text"]) is None
    assert changed["text"].startswith("Ben ") and changed["text"].endswith(" Rome.")
    question = "Which person lives in Rome and the bakery is in Rome?"
    assert ask("claim from answer", question=question, answer="Ben") == {"claim": claim}


def test_the_writer_knows_the_testbed_alone() -> None:
    assert ask("context graph", text="Ken Clarke criticized plans.") == {"triples": []}
    with pytest.raises(HarnessError, match=r"'Ken sings\.' is no fact of the testbed"):
        ask("claim from graph", statements=["Ken sings."])
    with pytest.raises(HarnessError, match="a request lacks head, tail"):
        ask("relation removal", sentences=[])


def test_originals_hold_sentences_of_the_rewritten_kind() -> None:
    phrases = [phrase for group in chains.NEUTRAL.values() for phrase in group]
    counts = Counter(
        sum(f" {phrase} " in text for text in document.split(".") for phrase in phrases)
        for document in chains.documents(600, 2)
    )
    assert all(counts[k] > 60 for k in range(1, 6))
