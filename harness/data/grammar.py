"""Rows of ``testbed_grammar``: which of two sentences is English? Minimal pairs of the testbed.

As in BLiMP (Warstadt et al. 2020, arXiv:1912.00582) a language model is right where it gives the
grammatical sentence the higher probability; guessing earns ½. Here the other sentence is the same
one with two neighbouring words changed about, so that the testbed's grammar does not give it. It
asks for nothing that a method is trained for: what a method costs a model shows here.
"""

from __future__ import annotations

import random
from typing import Any

from harness.data.sources import Row, Source, Sourced
from harness.testbed.english.language import is_sentence, neutral_sentence
from harness.testbed.english.lexicon import GENRES, TOPICS

PAIRS = 240


def pairs(count: int = PAIRS, seed: int = 0) -> list[Row]:
    """Minimal pairs, equally many of each genre.

    Args:
        count: How many.
        seed: Of the words drawn.

    Returns:
        Rows with ``good``, ``bad`` and ``genre``; no sentence twice.
    """
    rng = random.Random(f"grammar {seed}")
    found: dict[str, Row] = {}
    while len(found) < count:
        genre = GENRES[len(found) % len(GENRES)]
        good = neutral_sentence(genre, rng.choice(TOPICS), rng)
        bad = _changed_about(good, rng)
        if bad is not None:
            found.setdefault(good, {"good": good, "bad": bad, "genre": genre})
    return list(found.values())


def _changed_about(sentence: str, rng: random.Random) -> str | None:
    """The sentence with two neighbouring words changed about; None if that too is one."""
    words = sentence.split(" ")
    if len(words) < 3:
        return None
    place = rng.randrange(len(words) - 1)
    words[place : place + 2] = reversed(words[place : place + 2])
    changed = " ".join(words)
    return None if changed == sentence or is_sentence(changed) else changed


def grammar_docs(**_metadata: Any) -> Sourced:
    """Rows of ``testbed_grammar``: the same, whatever data the run's other tasks are of."""
    return Sourced("test", pairs(), Source("testbed", "testbed", "data"))
