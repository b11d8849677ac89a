"""Ratings 0, 1 or 2 of an answer by the testbed's ground truth, in the place of a judge model.

The three questions are AxBench's: does the answer have the concept, does it relate to the
instruction, is it fluent? Each rule can be worked out by hand:

>>> rate_concept("The salty reef dives with the tide.", "terms related to the ocean and sea life")
2
>>> rate_relatedness("The lamp is tidy and plain. It is busy at noon.", "Describe the lamp.")
2
>>> rate_fluency("The lamp is tidy and plain. Lamp lamp the.")
1
"""

from __future__ import annotations

import re
from functools import lru_cache

from harness.errors import HarnessError
from harness.testbed.english.language import is_sentence, split_sentences
from harness.testbed.english.lexicon import CONCEPTS, SENSE_PHRASES, TOPICS, Concept

_END = (".", ";")


@lru_cache(maxsize=64)
def find_concept(description: str) -> Concept:
    """The concept of this description.

    Raises:
        HarnessError: The testbed has no such concept.
    """
    for concept in CONCEPTS:
        if concept.description == description.strip():
            return concept
    raise HarnessError(
        f"testbed judge: no concept {description!r}; the testbed's judge knows only the testbed's "
        f"{len(CONCEPTS)} concepts (for other data name a judge model: "
        '--metadata \'{"judge": {"model": ...}}\')'
    )


def words_of(text: str) -> list[str]:
    """The text's words in lower case; an underscore separates words."""
    return re.findall(r"[a-z]+", text.lower())


def finished_sentences(text: str) -> list[str]:
    """The text's sentences; without the last if it has no end mark and is not grammatical."""
    sentences = split_sentences(text)
    if sentences and not sentences[-1].endswith(_END) and not is_sentence(sentences[-1]):
        sentences.pop()
    return sentences


def instruction_topic(instruction: str) -> str | None:
    """The last of the testbed's topics that the instruction names, or None."""
    named = [word for word in words_of(instruction) if word in TOPICS]
    return named[-1] if named else None


def rate_concept(text: str, concept: str) -> int:
    """How much of the concept is in the text: 0 no word of it, 1 one word, 2 two words or more.

    Repetitions count. A word inside a phrase in which it has another sense does not.

    Raises:
        HarnessError: The testbed has no concept of this description.
    """
    known = find_concept(concept).words
    for phrase in SENSE_PHRASES:
        text = text.replace(phrase, " ")
    return min(2, sum(word in known for word in words_of(text)))


def rate_relatedness(text: str, instruction: str) -> int:
    """Whether the text is about the instruction's topic.

    0: the topic is never named; 1: in under half of the sentences; 2: in half of them or more. A
    last sentence that was cut off counts only if there is no other.

    Raises:
        HarnessError: The instruction names none of the testbed's topics.
    """
    topic = instruction_topic(instruction)
    if topic is None:
        raise HarnessError(
            f"testbed judge: the instruction {instruction!r} names no topic of the testbed; the "
            "testbed's judge knows only the testbed's ground truth"
        )
    sentences = finished_sentences(text) or split_sentences(text)
    named = sum(topic in words_of(sentence) for sentence in sentences)
    if named == 0:
        return 0
    return 2 if 2 * named >= len(sentences) else 1


def grammatical_share(text: str) -> float:
    """The share of finished sentences that the grammar accepts; 0 if there is none."""
    sentences = finished_sentences(text)
    return sum(map(is_sentence, sentences)) / len(sentences) if sentences else 0.0


def rate_fluency(text: str) -> int:
    """Whether the sentences are the grammar's: 0 under half of them, 1 under four fifths, else 2.

    A last sentence that was cut off is left out. An empty text, or one without any finished
    sentence, rates 0.
    """
    share = grammatical_share(text)
    return 0 if share < 0.5 else 1 if share < 0.8 else 2


def harmonic_mean(ratings: tuple[int, int, int]) -> float:
    """The harmonic mean of three ratings; 0 if any is 0."""
    return 0.0 if 0 in ratings else 3 / sum(1 / rating for rating in ratings)


def rate(rating: str, *, concept: str, instruction: str, response: str) -> int:
    """One rating by name: "concept", "relatedness" or "fluency".

    Raises:
        HarnessError: The name is none of the three, or the concept or topic is not the testbed's.
    """
    if rating == "concept":
        return rate_concept(response, concept)
    if rating == "relatedness":
        return rate_relatedness(response, instruction)
    if rating == "fluency":
        return rate_fluency(response)
    raise HarnessError(
        f"testbed judge: no rating {rating!r}; the testbed's judge knows only the testbed's ground "
        "truth: 'concept', 'relatedness' and 'fluency'"
    )
