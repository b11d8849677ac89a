"""Near duplicates: texts whose sets of word 5-grams have a Jaccard similarity of one half or more.

``J(A, B) = |A ∩ B| / |A ∪ B|``. Case and punctuation do not count; a text of fewer than five words
is one gram. If J(A, B) ≥ θ, then A shares one of its first ``|A| − ⌈θ·|A|⌉ + 1`` grams, in an order
common to all sets, with as many first grams of B (prefix filtering: Chaudhuri et al. 2006): only
these are indexed, and only texts that share one are compared. Nothing is missed.

Worked example, in 2-grams: "a b c d" and "a b c e" have {ab, bc, cd} and {ab, bc, ce}: J = 2/4.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict

from harness_astral.suites.diversity import words

GRAM = 5
THRESHOLD = 0.5


def grams(text: str, size: int = GRAM) -> frozenset[str]:
    """The word n-grams of a text.

    >>> sorted(grams("A b, c d.", 2))
    ['a b', 'b c', 'c d']
    """
    found = words(text) or [text.strip()]
    count = max(1, len(found) - size + 1)
    return frozenset(" ".join(found[k : k + size]) for k in range(count))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The similarity of two sets that are not empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class Index:
    """Texts so far, searched for one that is nearly the same."""

    def __init__(self) -> None:
        self._grams: dict[str, frozenset[str]] = {}
        self._places: dict[str, int] = {}
        self._holders: dict[bytes, list[str]] = defaultdict(list)

    def take(self, name: str, text: str) -> str | None:
        """Take in a text, unless it is a near duplicate.

        Returns:
            The name of the first text that it nearly is; None if there is none, and it is taken in.
        """
        own = grams(text)
        first = _first(own)
        near = {name for gram in first for name in self._holders.get(gram, ())}
        for other in sorted(near, key=self._places.__getitem__):
            if jaccard(own, self._grams[other]) >= THRESHOLD:
                return other
        self._grams[name], self._places[name] = own, len(self._places)
        for gram in first:
            self._holders[gram].append(name)
        return None


def _first(own: frozenset[str]) -> list[bytes]:
    """Grams of which any near duplicate shares one, in the order of their hashes."""
    order = sorted(
        hashlib.blake2b(gram.encode(errors="surrogatepass"), digest_size=8).digest() for gram in own
    )
    return order[: len(own) - math.ceil(THRESHOLD * len(own)) + 1]
