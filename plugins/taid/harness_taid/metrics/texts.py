"""Figures of texts: overlap, variety, length.

ROUGE-L is Lin's F-measure of the longest common subsequence (2004), by ``rouge_score`` with its
stemmer: of words of Latin letters and digits, so that texts of other scripts have none. Distinct-n
is the number of different n-grams of all answers over the number of their n-grams (Li et al. 2016,
arXiv 1510.03055); words are what stands between blanks. It falls with the amount of text: compare
runs on the same prompts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any


@functools.lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L of a text, 0 to 1."""
    return float(_scorer().score(reference, text)["rougeL"].fmeasure)


def distinct(texts: Iterable[str], n: int) -> float:
    """Distinct-n of all texts together; NaN where none has n words.

    >>> distinct(["a b a", "a b"], 2)  # a b, b a, a b
    0.6666666666666666
    """
    grams = [
        tuple(words[i : i + n])
        for words in (text.split() for text in texts)
        for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else math.nan


def length(text: str) -> int:
    """Number of words."""
    return len(text.split())
