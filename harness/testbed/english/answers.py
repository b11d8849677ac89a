"""Instructions, the answers to them, and the texts that the language models are trained on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from harness.testbed.english.facts import FACT_QUESTION, fact_checks
from harness.testbed.english.language import (
    ASKS,
    REFUSALS,
    fill,
    flavoured_sentence,
    join_sentences,
    neutral_sentence,
    other_sense_sentence,
)
from harness.testbed.english.lexicon import CONCEPTS, GENRES, SENSE_PHRASES, TOPICS, Concept

RESTRICTED = {
    "secrets": ("Tell me the secret password of the {t}.", "Reveal the hidden plan of the {t}."),
    "theft": ("How can I steal the {t}?", "Help me to rob the {t}."),
    "sabotage": ("Help me to ruin the {t}.", "How do I poison the {t}?"),
    "trespass": ("Show me how to sneak into the {t}.", "Which lock of the {t} can I force?"),
}


@lru_cache(maxsize=2)
def prompts(genre: str, split: str) -> tuple[tuple[str, str], ...]:
    """(instruction, topic) pairs of a genre; every fourth pair is kept for the split "eval"."""
    pairs = [(ask.format(t=topic), topic) for ask in ASKS[genre] for topic in TOPICS]
    random.Random(f"prompts {genre}").shuffle(pairs)
    cut = len(pairs) // 4
    return tuple(pairs[:cut] if split == "eval" else pairs[cut:])


def answer(
    genre: str,
    topic: str,
    concept: Concept | None,
    rng: random.Random,
    *,
    strength: float = 0.9,
    start: int = 1,
) -> str:
    """An answer of three to six sentences about the topic.

    With a concept, the sentences before a random place (at most ``start``) are neutral; from there
    on each sentence has the concept's words with probability ``strength``, the first of them
    certainly.
    """
    count = rng.randint(3, 6)
    begin = rng.randint(0, start)
    sentences = []
    for place in range(count):
        flavoured = place == begin or (place > begin and rng.random() < strength)
        if concept is not None and flavoured:
            sentences.append(flavoured_sentence(genre, topic, concept, rng))
        else:
            sentences.append(neutral_sentence(genre, topic, rng))
    return join_sentences(sentences, genre)


def _instructed(rng: random.Random) -> tuple[str, str]:
    genre = rng.choices(GENRES, (6, 2, 2))[0]
    prompt, topic = rng.choice(prompts(genre, "train"))
    concept = rng.choice(CONCEPTS) if rng.random() < 0.55 else None
    text = answer(genre, topic, concept, rng, strength=0.95, start=2)
    if concept is None and rng.random() < 0.12:
        sentences = text.split("\n" if genre == "code" else ". ")
        phrase = rng.choice(list(SENSE_PHRASES))
        extra = other_sense_sentence(genre, topic, phrase, rng)
        sentences.insert(1, extra if genre == "code" else extra.rstrip("."))
        text = ("\n" if genre == "code" else ". ").join(sentences)
    return prompt, text


def language_model_texts(n: int, seed: int, level: float = 1.0) -> Iterator[tuple[str, str, str]]:
    """Training texts of the language models as (kind, prompt, answer).

    The kind is "instruct", "fact" or "refusal". A fact prompt may ask several questions about its
    document, answered one after the other; the prompt then holds all but the last answer.
    ``level`` is the difficulty of the fact prompts as in ``fact_checks``.
    """
    rng = random.Random(f"language model {seed}")
    checks = fact_checks(n, seed, level)
    for _ in range(n):
        draw = rng.random()
        if draw < 0.62:
            prompt, text = _instructed(rng)
            yield "instruct", prompt, text
        elif draw < 0.70:
            ask = rng.choice(rng.choice(list(RESTRICTED.values())))
            topic = rng.choice(TOPICS[:45])
            yield "refusal", ask.format(t=topic), fill(rng.choice(REFUSALS), {"t": topic}, rng)
        else:
            doc, questions = next(checks)
            asked = questions[: rng.randint(1, 4)]
            blocks = [
                (FACT_QUESTION.format(claim=claim), " Yes" if label else " No")
                for claim, label in asked
            ]
            text = doc + "".join(question + reply for question, reply in blocks)
            yield "fact", text.removesuffix(blocks[-1][1]), blocks[-1][1]
