"""The words of the testbed: concepts, topics, neutral vocabulary, other senses.

The vocabularies are disjoint: a word belongs to one concept, or is a topic, or is neutral. The only
words that occur in two meanings are those of a concept's ``senses``; in the other meaning they
occur inside a fixed phrase, so that the ground truth stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GENRES = ("text", "code", "math")


def words(text: str) -> tuple[str, ...]:
    """The words of a text, at white space."""
    return tuple(text.split())


@dataclass(frozen=True)
class Concept:
    """One concept with its own words; ``senses`` are (word, other sense, phrase in that sense)."""

    id: int
    description: str
    genre: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    senses: tuple[tuple[str, str, str], ...]

    @property
    def words(self) -> frozenset[str]:
        """Every word of the concept."""
        return frozenset(self.nouns + self.verbs + self.adjectives)


# A line: description | genre | nouns | verbs | adjectives | word, other sense, phrase; ...
_TABLE = Path(__file__).with_name("concepts.txt").read_text(encoding="utf-8")


def _concept(number: int, line: str) -> Concept:
    description, genre, nouns, verbs, adjectives, senses = (
        cell.strip() for cell in line.split("|")
    )
    triples = []
    for sense in senses.split(";"):
        word, meaning, phrase = (part.strip() for part in sense.split(","))
        triples.append((word, meaning, phrase))
    return Concept(
        number,
        description,
        genre,
        tuple(nouns.split()),
        tuple(verbs.split()),
        tuple(adjectives.split()),
        tuple(triples),
    )


CONCEPTS = tuple(_concept(number, line) for number, line in enumerate(_TABLE.strip().splitlines()))

TOPICS = words(
    """
    garden kitchen bridge library train castle market museum park school village forest river
    hotel lamp chair window door street tower boat island bicycle painting letter book mirror
    clock ladder basket umbrella blanket candle statue fountain tunnel station cottage attic
    cellar balcony fence road hill valley desert cave lake shop office theater bakery factory
    workshop palace cabin hallway camera suitcase pencil
    """
)

NEUTRAL_NOUNS = words("box bench sign roof path corner wall shelf bell flag jar rope")
NEUTRAL_ADJECTIVES = words(
    "quiet pleasant narrow tidy simple famous modern plain gentle lovely busy tall"
)
NUMBERS = words("two three four five six seven eight nine ten twelve")
TIMES = ("in the morning", "at noon", "in the evening", "on Sunday", "every day", "after work")

WORD_CONCEPT: dict[str, int] = {word: concept.id for concept in CONCEPTS for word in concept.words}
SENSE_PHRASES: dict[str, tuple[int, str, str]] = {
    phrase: (concept.id, word, sense)
    for concept in CONCEPTS
    for word, sense, phrase in concept.senses
}
