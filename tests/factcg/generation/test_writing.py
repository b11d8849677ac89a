"""Answers of a form are read as they are; all others are refused, and nothing is invented."""

from __future__ import annotations

import doctest
import json

import pytest
from harness_factcg.generation import questions
from harness_factcg.generation.graphs import Path, Triple
from harness_factcg.generation.questions import Claim, Numbers, Sentences, Triples, read
from harness_factcg.generation.rewriting import Passage
from hypothesis import given
from hypothesis import strategies as st

ANNA = Triple("Anna", "Anna works for Borealis, Inc.", "Borealis, Inc.")
SEAT = Triple("Borealis, Inc.", "Borealis, Inc. is based in Paris, Texas.", "Paris, Texas")
words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
FRAMES = (
    "{}",
    "\n  {}\n",
    "```json\n{}\n```",
    "```\n{}\n```",
    "Here:\n\n```JSON\n{}\n```\nThat is all.",
    "<think>Let me see: {{}} or ```json\n1\n```</think>{}",
)


def test_the_modules_example() -> None:
    assert doctest.testmod(questions).failed == 0


@given(st.lists(st.tuples(words, words, words), max_size=8), st.sampled_from(FRAMES), st.booleans())
def test_no_triple_is_invented_and_none_is_lost(
    triples: list[tuple[str, str, str]], frame: str, ascii_only: bool
) -> None:
    rows = [dict(zip(("head", "relation", "tail"), own, strict=True)) for own in triples]
    answer = frame.format(json.dumps({"triples": rows}, ensure_ascii=ascii_only))
    found = read(answer, Triples)
    assert found is not None
    assert [tuple(own) for own in found.found()] == [
        tuple(part.strip() for part in own) for own in triples
    ]


KEYS = ("triples", "head", "relation", "tail", "claim", "sentences", "number", "text")
SIMPLE = st.none() | st.booleans() | st.integers(-3, 9) | st.just(1.0) | st.text(max_size=6)
JSON = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_json_comes_only_its_own_words_come_out(value: object) -> None:
    answer = json.dumps(value)
    for form in (Triples, Numbers, Claim, Sentences):
        found = read(answer, form)
        if found is None:
            continue
        assert isinstance(value, dict) and set(value) == set(form.model_fields)
        said = json.loads(found.model_dump_json())
        (key,) = form.model_fields
        if isinstance(said[key], str):
            assert said[key] == value[key].strip()
            continue
        assert len(said[key]) == len(value[key])
        for own, given_ in zip(said[key], value[key], strict=True):
            assert own == given_ or [str(part).strip() for part in own.values()] == [
                str(given_[name]).strip() for name in own
            ]


@given(st.text(max_size=200))
def test_text_that_is_no_json_is_no_answer(answer: str) -> None:
    try:
        json.loads(answer)
    except ValueError:
        assert all(read(answer, form) is None for form in (Triples, Numbers, Claim, Sentences))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I am sorry, I cannot do that.",
        '{"triples": [{"head": "Anna", "relation": "Anna works',
        '{"triples": [{"head": "Anna", "tail": "Borealis"}]}',
        '{"triples": [{"head": "", "relation": "r", "tail": "t"}]}',
        '{"triples": [{"head": 1, "relation": "r", "tail": "t"}]}',
        '{"triples": [["Anna", "works for", "Borealis"]]}',
        '{"triples": "Anna, works for, Borealis"}',
        '[{"head": "Anna", "relation": "r", "tail": "t"}]',
        '{"triples": []} and more',
        '```json\n{"triples": []}\n```\n```json\n{"triples": []}\n```',
        '{"triples": [], "note": "none"}',
    ],
)
def test_what_is_no_context_graph(answer: str) -> None:
    assert read(answer, Triples) is None


def test_what_counts_as_a_claim_of_a_path() -> None:
    question = questions.ask_claim(Path((ANNA, SEAT), ("Anna", "Borealis, Inc.", "Paris, Texas")))
    assert "names each of these: Anna; Borealis, Inc.; Paris, Texas." in question.prompt
    assert "1. Anna works for Borealis, Inc.\n2. Borealis, Inc. is based in" in question.prompt
    assert question.check is not None

    def counts(claim: str) -> bool:
        assert question.check is not None
        return question.check(json.dumps({"claim": claim}))

    assert counts("Anna works for Borealis, Inc., a company of Paris, Texas.")
    assert not counts("Anna works for a company of Paris, Texas.")
    assert not counts("Anna works for Borealis, Inc.\nIt is in Paris, Texas.")
    assert not question.check("Anna, Borealis, Inc., Paris, Texas")


def test_what_counts_as_a_subgraph() -> None:
    question = questions.ask_subgraph([ANNA, SEAT], "Anna works in Texas.")
    assert question.check is not None
    assert question.check('{"triples": [2]}') and question.check('{"triples": [2, 1]}')
    for answer in ("[]", "[3]", "[0]", "[1, 1]", '["1"]', "[1.0]", "[true]", "1"):
        assert not question.check(f'{{"triples": {answer}}}'), answer


def test_what_counts_as_a_removal() -> None:
    text = Passage.of("Anna works for Borealis, Inc. in May. It rains. Rome is old.")
    question = questions.ask_removal(text, ANNA)
    assert "1. Anna works for Borealis, Inc. in May.\n2. It rains.\n3. Rome" in question.prompt

    def counts(*sentences: tuple[int, str]) -> bool:
        assert question.check is not None
        rows = [{"number": number, "text": text} for number, text in sentences]
        return question.check(json.dumps({"sentences": rows}))

    good = (1, "Anna has heard of Borealis, Inc. in May.")
    assert counts(good)
    assert not counts() and not counts(good, good) and not counts(good, (4, "It snows."))
    assert not counts((1, "Anna works in May."))


def test_what_counts_as_a_statement() -> None:
    question = questions.ask_statement("In which town does Anna work?", "Paris, Texas")
    assert question.check is not None
    assert question.check('{"claim": "Anna works in Paris, Texas."}')
    assert not question.check('{"claim": "Anna works in Paris."}')
    assert not question.check('{"claim": "Does Anna work in Paris, Texas?"}')
    plain = questions.ask_statement("Is Anna older than Ben?", "Yes")
    assert plain.check is not None and plain.check('{"claim": "Anna is older than Ben."}')


def test_prompts_hold_braces_and_the_wording_has_a_name() -> None:
    question = questions.ask_graph("A {text} with {braces}.")
    assert "A {text} with {braces}." in question.prompt
    assert '{"triples": [{"head": "FIRST THING"' in question.prompt
    assert len(questions.wording()) == 64
