"""How unlike the inputs of a suite are: distinct-n, and their mean similarity.

Distinct-n (Li et al. 2016) is the number of different word n-grams over that of all. The mean
similarity is the mean cosine over all pairs of texts of their TF-IDF vectors (counts times
``ln((1 + N) / (1 + df)) + 1``, as scikit-learn has it). In closed form it is, for unit vectors
``v``, ``(‖Σv‖² − N) / (N·(N − 1))``: no pair has to be compared.

>>> round(distinct(["a b a b", "a c"], 2), 3)
0.75
>>> round(mean_similarity(["a b", "a b", "c"]), 3)
0.333
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return _WORD.findall(text.casefold())


def distinct(texts: Sequence[str], size: int) -> float:
    """Distinct-n; 0 where no text has n words."""
    found = []
    for text in texts:
        own = words(text)
        found += [tuple(own[k : k + size]) for k in range(len(own) - size + 1)]
    return len(set(found)) / len(found) if found else 0.0


def mean_similarity(texts: Sequence[str]) -> float | None:
    """The mean cosine over all pairs; None for fewer than two texts, or a text without words."""
    counts = [Counter(words(text)) for text in texts]
    if len(counts) < 2 or not all(counts):
        return None
    number = len(counts)
    holding = Counter(word for count in counts for word in count)
    rarity = {word: math.log((1 + number) / (1 + df)) + 1 for word, df in holding.items()}
    total = dict.fromkeys(holding, 0.0)
    for count in counts:
        weights = {word: times * rarity[word] for word, times in count.items()}
        length = math.hypot(*weights.values())
        for word, weight in weights.items():
            total[word] += weight / length
    return (math.hypot(*total.values()) ** 2 - number) / (number * (number - 1))


def diversity(texts: Sequence[str]) -> dict[str, float | None]:
    """The figures, for a manifest."""
    return {
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "mean_similarity": mean_similarity(texts),
    }
