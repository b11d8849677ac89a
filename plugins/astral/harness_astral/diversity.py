"""How unlike the inputs of a suite are: distinct-n, and their mean similarity.

Distinct-n (Li et al. 2016) is the number of different word n-grams over that of all. The mean
similarity is the mean cosine of the TF-IDF vectors over all pairs of texts, in closed form: for
unit vectors ``v`` it is ``(‖Σv‖² − N) / (N·(N − 1))``.

>>> round(distinct(["a b a b", "a c"], 2), 3)
0.75
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def distinct(texts: Sequence[str], size: int) -> float:
    """Distinct-n; 0 where no text has n words."""
    found = []
    for text in texts:
        words = _WORD.findall(text.casefold())
        found += [tuple(words[k : k + size]) for k in range(len(words) - size + 1)]
    return len(set(found)) / len(found) if found else 0.0


def mean_similarity(texts: Sequence[str]) -> float | None:
    """The mean cosine over all pairs; None for fewer than two texts, or texts without words."""
    if len(texts) < 2 or not all(_WORD.search(text) for text in texts):
        return None
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [_WORD.findall(text.casefold()) for text in texts]
    vectors = TfidfVectorizer(analyzer=list).fit_transform(words)
    total = np.asarray(vectors.sum(axis=0)).ravel()
    count = len(texts)
    return float(total @ total - count) / (count * (count - 1))


def diversity(texts: Sequence[str]) -> dict[str, float | None]:
    """The figures, for a manifest."""
    return {
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "mean_similarity": mean_similarity(texts),
    }
