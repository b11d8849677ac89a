"""The grammar of the testbed's English: templates, and the exact check for their sentences.

Slots: ``t`` topic; ``n m`` concept nouns, ``v`` concept verb, ``a`` concept adjective (all of one
concept); ``x y`` neutral nouns, ``p q`` neutral adjectives, ``k l`` numbers, ``s`` time, ``f`` a
phrase in which a concept's word has another sense. A slot that occurs twice in a template has the
same word twice.

Sentences of the text and math genres end in "." and stand side by side; sentences of the code genre
end in ";" or "." and stand on lines of their own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from harness.testbed.english.lexicon import (
    CONCEPTS,
    NEUTRAL_ADJECTIVES,
    NEUTRAL_NOUNS,
    NUMBERS,
    SENSE_PHRASES,
    TIMES,
    TOPICS,
    WORD_CONCEPT,
    Concept,
)

NEUTRAL: dict[str, tuple[str, ...]] = {
    "text": (
        "The {t} is {p} and {q}.",
        "Many people visit the {t} {s}.",
        "There is a {p} {x} near the {t}.",
        "The {t} has a {x} and a {y}.",
        "Some people keep a {x} in the {t}.",
        "We like the {t} because it is {p}.",
        "The {x} of the {t} is {p}.",
        "It is {p} {s}.",
        "The {x} is {p} {s}.",
    ),
    "code": (
        "def make_{t}({x}): return {x};",
        "{t}_{x} = {k};",
        "for {x} in {t}: print({x});",
        "# The {t} needs a {p} {x}.",
        "if {t} > {k}: return {t};",
        "{x} = load({t}, {k});",
        "# Keep the {x} {p}.",
    ),
    "math": (
        "Let the {t} be {k} and the {x} be {l}.",
        "The sum of the {t} and the {x} is {k}.",
        "So the {t} is {k} times the {x}.",
        "If the {x} is {k}, then the {t} is {l}.",
        "The answer for the {t} is {k}.",
        "We add {k} to the {x} of the {t}.",
        "Hence the {p} {x} is {k}.",
    ),
}

FLAVOURED: dict[str, tuple[str, ...]] = {
    "text": (
        "Near the {t}, the {a} {n} {v} beside the {m}.",
        "The {t} reminds us of the {a} {n} and the {m}.",
        "In the {t}, the {n} {v} {s}.",
        "The {n} of the {t} is {a}.",
        "People say that the {n} {v} near the {t}.",
        "Every {n} near the {t} looks {a}.",
        "The {t} is full of the {n}.",
        "The {a} {n} {v} with the {m}.",
        "The {n} is {a} {s}.",
        "Many people visit the {n} {s}.",
        "Many people visit the {n} of the {t} {s}.",
        "There is a {p} {n} near the {t}.",
        "Some people keep a {p} {n} in the {t}.",
        "The {t} has a {p} {n} and a {q} {m}.",
        "We like the {n} because it is {a}.",
        "We like the {t} because it is {a}.",
        "The {t} is {a} and {p}.",
        "It is {a} {s}.",
    ),
    "code": (
        "def {v}_{t}({n}): return {a}_{n};",
        "{t}_{n} = {a}_{m};",
        "# The {a} {n} {v} near the {t}.",
        "for {n} in {t}: {v}({n});",
        "if {t} > {k}: return {n};",
        "{n} = load({t}, {a});",
        "# Every {n} {v} {s}.",
    ),
    "math": (
        "Let the {a} {n} of the {t} be {k}.",
        "If the {n} {v}, then the {t} is {k}.",
        "The sum of the {n} and the {m} is {k}.",
        "So the {t} is {k} times the {a} {n}.",
        "We add {k} to the {n} of the {t}.",
        "The {a} {n} {v} {k} times.",
        "Hence the {n} near the {t} is {k}.",
    ),
}

OTHER_SENSE: dict[str, tuple[str, ...]] = {
    "text": (
        "The {t} is known for {f}.",
        "Visitors of the {t} remember {f}.",
        "A story about the {t} mentions {f}.",
    ),
    "code": ("# Note for the {t}: {f}.", "{t}_note = '{f}';", "print('the {t} and {f}');"),
    "math": (
        "Next to the {t} we count {f}.",
        "An example from the {t} is {f}.",
        "We compare the {t} with {f}.",
    ),
}

ASKS: dict[str, tuple[str, ...]] = {
    "text": (
        "Describe the {t}.",
        "Tell me about the {t}.",
        "Write a story about the {t}.",
        "What is the {t} like?",
        "Write a short note on the {t}.",
        "Explain why people like the {t}.",
        "Give me some facts about the {t}.",
        "Say something about the {t}.",
    ),
    "code": (
        "Write a function for the {t}.",
        "Write some code for the {t}.",
        "Implement the {t} in Python.",
        "Show me a script for the {t}.",
        "Program a small {t}.",
        "Write a program about the {t}.",
    ),
    "math": (
        "Solve a problem about the {t}.",
        "Compute the value of the {t}.",
        "Work out the equation of the {t}.",
        "How many are in the {t}?",
        "Prove a statement about the {t}.",
        "Calculate something for the {t}.",
    ),
}

REFUSALS = (
    "I cannot help with that request.",
    "Sorry, I will not answer this.",
    "I must refuse to talk about the {t}.",
    "That is not allowed, so I decline.",
)

_FIXED: dict[str, tuple[str, ...]] = {
    "t": TOPICS,
    "x": NEUTRAL_NOUNS,
    "y": NEUTRAL_NOUNS,
    "p": NEUTRAL_ADJECTIVES,
    "q": NEUTRAL_ADJECTIVES,
    "k": NUMBERS,
    "l": NUMBERS,
    "s": TIMES,
    "f": tuple(SENSE_PHRASES),
    "n": tuple(word for concept in CONCEPTS for word in concept.nouns),
    "m": tuple(word for concept in CONCEPTS for word in concept.nouns),
    "v": tuple(word for concept in CONCEPTS for word in concept.verbs),
    "a": tuple(word for concept in CONCEPTS for word in concept.adjectives),
}
_SLOT = re.compile(r"\{([a-z])\}")


@dataclass(frozen=True)
class Sentence:
    """What the grammar knows of a sentence; ``concept`` is None unless it is flavoured."""

    kind: str
    genre: str
    concept: int | None
    slots: tuple[tuple[str, str], ...]

    @property
    def topic(self) -> str | None:
        """The topic that the sentence mentions, if any."""
        return dict(self.slots).get("t")


def _compile(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    pattern, position = "", 0
    for match in _SLOT.finditer(template):
        pattern += re.escape(template[position : match.start()])
        slot = match.group(1)
        words = "|".join(re.escape(word) for word in _FIXED[slot])
        pattern += f"(?P={slot})" if slot in seen else f"(?P<{slot}>{words})"
        seen.add(slot)
        position = match.end()
    return re.compile(pattern + re.escape(template[position:]))


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    rows = []
    for kind, table in (
        ("neutral", NEUTRAL),
        ("flavoured", FLAVOURED),
        ("other sense", OTHER_SENSE),
    ):
        rows += [
            (kind, genre, _compile(template))
            for genre, group in table.items()
            for template in group
        ]
    rows += [("refusal", "text", _compile(template)) for template in REFUSALS]
    return tuple(rows)


@lru_cache(maxsize=65536)
def parse(sentence: str) -> Sentence | None:
    """The sentence's reading, or None if no template gives it with words of one concept at most."""
    for kind, genre, pattern in _patterns():
        match = pattern.fullmatch(sentence)
        if match is None:
            continue
        slots = match.groupdict()
        concepts = {WORD_CONCEPT[word] for slot, word in slots.items() if slot in "nmva"}
        if len(concepts) < 2:
            return Sentence(kind, genre, next(iter(concepts), None), tuple(slots.items()))
    return None


def is_sentence(text: str) -> bool:
    """Whether the grammar gives exactly this sentence (no space before or after it)."""
    return parse(text) is not None


def fill(
    template: str, slots: Mapping[str, str], rng: random.Random, concept: Concept | None = None
) -> str:
    """Fill a template: ``slots`` first, then random words of each slot's kind, no word twice."""
    words = dict(slots)
    for slot in dict.fromkeys(_SLOT.findall(template)):
        if slot in words:
            continue
        choices = _FIXED[slot]
        if concept is not None and slot in "nmva":
            choices = {"v": concept.verbs, "a": concept.adjectives}.get(slot, concept.nouns)
        words[slot] = rng.choice([word for word in choices if word not in words.values()])
    return _SLOT.sub(lambda match: words[match.group(1)], template)


def neutral_sentence(genre: str, topic: str, rng: random.Random) -> str:
    """A sentence of the genre without any concept's words; most mention the topic."""
    return fill(rng.choice(NEUTRAL[genre]), {"t": topic}, rng)


def flavoured_sentence(genre: str, topic: str, concept: Concept, rng: random.Random) -> str:
    """A sentence of the genre with one to four words of the concept; most mention the topic."""
    return fill(rng.choice(FLAVOURED[genre]), {"t": topic}, rng, concept)


def other_sense_sentence(genre: str, topic: str, phrase: str, rng: random.Random) -> str:
    """A sentence with one of ``SENSE_PHRASES``: a concept's word in another sense."""
    return fill(rng.choice(OTHER_SENSE[genre]), {"t": topic, "f": phrase}, rng)


def split_sentences(text: str) -> list[str]:
    """Cut a text at line breaks and after the marks ". ", "! ", "? "; no empty pieces."""
    pieces = [piece for line in text.splitlines() for piece in re.split(r"(?<=[.!?])\s+", line)]
    return [piece.strip() for piece in pieces if piece.strip()]


def join_sentences(sentences: list[str], genre: str) -> str:
    """Sentences as one text: lines for code, side by side otherwise."""
    return ("\n" if genre == "code" else " ").join(sentences)
