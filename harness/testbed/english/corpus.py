"""The testbed's data: instructions, concept texts, claims, requests to refuse.

Rows have the columns of the data sets they stand in for (AxBench, AlpacaEval, LLM-AggreFact).
Everything is drawn from seeded generators in pure Python: the same call gives the same rows on
every machine.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from functools import lru_cache

from harness.errors import HarnessError
from harness.testbed.english.answers import RESTRICTED, answer, language_model_texts, prompts
from harness.testbed.english.facts import (
    FACT_TEMPLATE,
    STYLES,
    Style,
    claim_pairs,
    document,
    document_facts,
    is_supported,
    make_claim,
)
from harness.testbed.english.language import join_sentences, neutral_sentence, other_sense_sentence
from harness.testbed.english.lexicon import CONCEPTS, GENRES, TOPICS, Concept

__all__ = [
    "FACT_TEMPLATE",
    "Row",
    "claim_pairs",
    "claims",
    "concept_eval",
    "concept_metadata",
    "concept_train",
    "corpus_hash",
    "instructions",
    "language_model_texts",
    "refusal_requests",
]

Row = dict[str, str | int]


def _part(concept: Concept, held_out: bool) -> Concept:
    """The concept with the nouns of its training positives, or with those kept for evaluation."""
    return replace(concept, nouns=concept.nouns[4:] if held_out else concept.nouns[:6])


def _row(
    prompt: str, output: str, concept: Concept | None, category: str, place: tuple[str, int]
) -> Row:
    return {
        "input": prompt,
        "output": output,
        "output_concept": concept.description if concept is not None else "EEEEE",
        "concept_genre": place[0],
        "category": category,
        "dataset_category": "instruction",
        "concept_id": place[1],
    }


@lru_cache(maxsize=1)
def concept_train() -> list[Row]:
    """AxBench's training rows: 72 positives a concept, 72 negatives a genre (concept_id -1).

    Four fifths of the negatives have some concept, each of the sixteen equally often, so that what
    sets positives apart is their own concept.
    """
    rng = random.Random("concept train")
    rows = []
    for concept in CONCEPTS:
        place = (concept.genre, concept.id)
        for prompt, topic in rng.sample(prompts(concept.genre, "train"), 72):
            output = answer(concept.genre, topic, _part(concept, False), rng)
            rows.append(_row(prompt, output, concept, "positive", place))
    for genre in GENRES:
        for prompt, topic in rng.sample(prompts(genre, "train"), 72):
            other = rng.choice(CONCEPTS) if rng.random() < 0.8 else None
            output = answer(genre, topic, other, rng)
            rows.append(_row(prompt, output, None, "negative", (genre, -1)))
    return rows


@lru_cache(maxsize=1)
def concept_eval() -> list[Row]:
    """AxBench's detection rows: per concept 36 positives, 36 negatives, nine hard negatives.

    Positives use the concept thinly (half of the sentences after the first) and mostly with
    nouns that no training positive has. Negatives are neutral or have another concept. Hard
    negatives have a word of the concept in another sense.
    """
    rng = random.Random("concept eval")
    rows = []
    for concept in CONCEPTS:
        pool = prompts(concept.genre, "eval")
        others = [other for other in CONCEPTS if other.id != concept.id]
        place = (concept.genre, concept.id)
        for prompt, topic in rng.sample(pool, 36):
            thin = _part(concept, True)
            output = answer(concept.genre, topic, thin, rng, strength=0.5, start=2)
            rows.append(_row(prompt, output, concept, "positive", place))
        for prompt, topic in rng.sample(pool, 36):
            other = rng.choice(others) if rng.random() < 0.3 else None
            output = answer(concept.genre, topic, other, rng)
            rows.append(_row(prompt, output, concept, "negative", place))
        for word, sense, phrase in concept.senses * 3:
            prompt, topic = rng.choice(pool)
            count = rng.randint(2, 4)
            sentences = [neutral_sentence(concept.genre, topic, rng) for _ in range(count)]
            sentences.insert(1, other_sense_sentence(concept.genre, topic, phrase, rng))
            output = join_sentences(sentences, concept.genre)
            row = _row(prompt, output, concept, "hard negative", place)
            rows.append({**row, "output_concept": f"{word}//{sense}"})
    return [{**row, "sae_link": "", "sae_id": -1} for row in rows]


def concept_metadata() -> list[dict[str, object]]:
    """One dict a concept: concept_id, concept, ref, concept_genres_map."""
    return [
        {
            "concept_id": concept.id,
            "concept": concept.description,
            "ref": f"testbed:{concept.id}",
            "concept_genres_map": {concept.description: [concept.genre]},
        }
        for concept in CONCEPTS
    ]


@lru_cache(maxsize=1)
def instructions() -> list[dict[str, str]]:
    """Text-genre instructions that no model was trained on (the stand-in for AlpacaEval)."""
    return [{"instruction": prompt, "dataset": "testbed"} for prompt, _ in prompts("text", "eval")]


@lru_cache(maxsize=1)
def refusal_requests() -> list[Row]:
    """Requests with ``restricted`` 1 (to be refused; four categories) or 0 (to be answered).

    The restricted ones name topics that the training requests of the same wording do not.
    """
    rows: list[Row] = [
        {"instruction": ask.format(t=topic), "category": category, "restricted": 1}
        for category, asks in RESTRICTED.items()
        for ask in asks
        for topic in TOPICS[45:]
    ]
    harmless = [row["instruction"] for row in instructions()]
    rows += [{"instruction": ask, "category": "harmless", "restricted": 0} for ask in harmless]
    return rows


@lru_cache(maxsize=2)
def claims(split: str) -> list[Row]:
    """Rows of all eleven LLM-AggreFact data sets: 48 each for split "test", 32 each for "dev".

    Columns: dataset, doc, claim, label, contamination_identifier. Four claims share a document.
    Both labels occur in each data set at about the real rate, and ten times at least.
    """
    sizes = {"dev": 32, "test": 48}
    if split not in sizes:
        raise HarnessError(f"testbed claims: no split {split!r}; there are 'dev' and 'test'")
    rows: list[Row] = []
    for name, style in STYLES.items():
        rng = random.Random(f"claims {split} {name}")
        size = sizes[split]
        positives = min(max(round(style.positives * size), 10), size - 10)
        labels = [1] * positives + [0] * (size - positives)
        rng.shuffle(labels)
        for start in range(0, size, 4):
            rows += _document_rows(name, style, labels[start : start + 4], rng)
    return rows


def _document_rows(name: str, style: Style, labels: list[int], rng: random.Random) -> list[Row]:
    """One document with a claim for each label."""
    long = rng.random() < style.long
    facts = document_facts(max(4, rng.randint(*style.facts)), rng)
    doc = document(facts, style, rng.randint(60, 110) if long else rng.randint(*style.fillers), rng)
    found: dict[str, int] = {}
    for label in labels:
        claim = make_claim(facts, bool(label), rng.random() < style.double, rng)
        while claim in found:
            claim = make_claim(facts, bool(label), rng.random() < style.double, rng)
        assert is_supported(doc, claim) == bool(label)
        found[claim] = label
    key = hashlib.sha256(f"{name}\n{doc}".encode()).hexdigest()[:16]
    return [
        {
            "dataset": name,
            "doc": doc,
            "claim": claim,
            "label": label,
            "contamination_identifier": key,
        }
        for claim, label in found.items()
    ]


def corpus_hash() -> str:
    """A hash of the data and of the head of the training texts: equal hashes, equal testbed."""
    parts: list[object] = [concept_train(), concept_eval(), concept_metadata(), instructions()]
    parts += [refusal_requests(), claims("dev"), claims("test")]
    parts += [list(language_model_texts(500, 0)), list(claim_pairs(200, 0))]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:16]
