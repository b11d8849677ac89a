"""The grammar accepts what it generates and nothing else; the vocabularies are disjoint."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from harness.testbed.english import language
from harness.testbed.english.lexicon import (
    CONCEPTS,
    GENRES,
    NEUTRAL_ADJECTIVES,
    NEUTRAL_NOUNS,
    NUMBERS,
    SENSE_PHRASES,
    TIMES,
    TOPICS,
)


def test_sixteen_concepts_in_three_genres():
    assert Counter(concept.genre for concept in CONCEPTS) == {"text": 8, "code": 4, "math": 4}
    assert [concept.id for concept in CONCEPTS] == list(range(16))
    for concept in CONCEPTS:
        assert (len(concept.nouns), len(concept.verbs), len(concept.adjectives)) == (8, 4, 4)
        assert all(word in concept.words for word, _, _ in concept.senses)


def test_vocabularies_are_disjoint():
    owned = [word for concept in CONCEPTS for word in concept.words]
    assert len(owned) == len(set(owned)) == 256
    tables = (language.NEUTRAL, language.FLAVOURED, language.OTHER_SENSE, language.ASKS)
    templates = [text for table in tables for group in table.values() for text in group]
    frames = " ".join([*templates, *TIMES, *language.REFUSALS]).lower()
    glue = set(re.findall("[a-z]+", re.sub(r"\{.\}", " ", frames)))
    neutral = {*TOPICS, *NEUTRAL_NOUNS, *NEUTRAL_ADJECTIVES, *NUMBERS}
    assert not set(owned) & (neutral | glue)
    assert not neutral & glue


def test_a_sense_phrase_has_one_concept_word():
    for phrase, (number, word, _) in SENSE_PHRASES.items():
        found = set(re.findall("[a-z]+", phrase)) & {w for c in CONCEPTS for w in c.words}
        assert found == {word}
        assert word in CONCEPTS[number].words


@pytest.mark.parametrize("genre", GENRES)
def test_grammar_accepts_every_generated_sentence(genre):
    rng = random.Random(1)
    for _ in range(1500):
        topic, concept = rng.choice(TOPICS), rng.choice(CONCEPTS)
        phrase = rng.choice(list(SENSE_PHRASES))
        for kind, number, text in (
            ("neutral", None, language.neutral_sentence(genre, topic, rng)),
            ("flavoured", concept.id, language.flavoured_sentence(genre, topic, concept, rng)),
            ("other sense", None, language.other_sense_sentence(genre, topic, phrase, rng)),
        ):
            reading = language.parse(text)
            assert reading is not None, text
            assert (reading.kind, reading.genre, reading.concept) == (kind, genre, number)
            assert language.split_sentences(text) == [text]


def test_grammar_refuses_word_salad():
    rng = random.Random(2)
    for _ in range(1000):
        words = language.neutral_sentence("text", rng.choice(TOPICS), rng).rstrip(".").split()
        shuffled = rng.sample(words, len(words))
        if shuffled != words:
            salad = " ".join(shuffled)
            assert language.parse(salad + ".") is None or Counter(shuffled) == Counter(words)
            assert not language.is_sentence(salad)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The lamp.",
        "the lamp is tidy and plain.",
        "The lamp is tidy and plain",
        "The lamp is tidy and plain. ",
        "The whale of the lamp is savory.",  # words of two concepts
        "So the reef is two times the box.",  # a concept's noun where a topic belongs
        "def make_lamp(box): return jar;",  # the same slot twice, two words
    ],
)
def test_grammar_refuses(text):
    assert not language.is_sentence(text)


def test_split_and_join_are_inverse():
    rng = random.Random(3)
    for genre in GENRES:
        sentences = [language.neutral_sentence(genre, "lamp", rng) for _ in range(5)]
        text = language.join_sentences(sentences, genre)
        assert language.split_sentences(text) == sentences
