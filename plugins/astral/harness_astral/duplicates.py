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
import re
from collections import defaultdict

GRAM = 5
THRESHOLD = 0.5
_WORD = re.compile(r"\w+")


def grams(text: str, size: int = GRAM) -> frozenset[str]:
    """The word n-grams of a text.

    >>> sorted(grams("A b, c d.", 2))
    ['a b', 'b c', 'c d']
    """
    found = _WORD.findall(text.casefold()) or [text.strip()]
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
        self._holders: dict[bytes, list[str]] = defaultdict(list)

    def like(self, text: str) -> str | None:
        """The name of the first text of which this is a near duplicate; None if there is none."""
        own = grams(text)
        near = {name for gram in _first(own) for name in self._holders.get(gram, ())}
        for name in self._grams if len(near) > len(self._grams) // 2 else sorted(near):
            if name in near and jaccard(own, self._grams[name]) >= THRESHOLD:
                return name
        return None

    def add(self, name: str, text: str) -> None:
        """Take in a text."""
        own = self._grams[name] = grams(text)
        for gram in _first(own):
            self._holders[gram].append(name)


def _first(own: frozenset[str]) -> list[bytes]:
    """Grams of which any near duplicate shares one, in the order of their hashes."""
    order = sorted(
        hashlib.blake2b(gram.encode(errors="surrogatepass"), digest_size=8).digest() for gram in own
    )
    return order[: len(own) - math.ceil(THRESHOLD * len(own)) + 1]
