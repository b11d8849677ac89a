"""Which seeds and snippets the generator sees: BM25 within a category, then a seeded draw.

Seeds are ranked by BM25 (Robertson & Zaragoza 2009; the library is bm25s) for a query of what the
cell is about: the descriptions of its category, style and persuasion technique. Statistics are of
all seeds, candidates only those of the cell's category. Of the best ``4 × count`` a draw takes
``count``; it follows from the cell, the replicate and the attempt, so that replicates differ and
another cell changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from harness_astral.generation.seeds import Seed
from harness_astral.suites.factors import Level

POOL = 4
T = TypeVar("T")


def words(texts: Sequence[str]) -> list[list[str]]:
    """The words that are counted, without English stop words."""
    import bm25s

    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en", return_ids=False, show_progress=False
    )
    return found


class Retriever:
    """Ranks the seeds of a category.

    Args:
        seeds: All seeds.
    """

    def __init__(self, seeds: Sequence[Seed]) -> None:
        import bm25s

        self._seeds = list(seeds)
        corpus = words([seed.text for seed in self._seeds])
        self._known = {word for text in corpus for word in text}
        self._index: Any = None
        if self._known:
            self._index = bm25s.BM25()
            self._index.index(corpus, show_progress=False)
        self._ranked: dict[tuple[str, ...], list[Seed]] = {}

    def rank(self, category: Level, *others: Level) -> list[Seed]:
        """The seeds of a category, the best for its and the others' descriptions first.

        Equal ones stay in the file's order.
        """
        levels = (category, *others)
        key = tuple(level.name for level in levels)
        if key not in self._ranked:
            (asked,) = words([" ".join(level.description for level in levels)])
            query = [word for word in asked if word in self._known]
            scores = self._index.get_scores(query) if query else [0.0] * len(self._seeds)
            own = [k for k, seed in enumerate(self._seeds) if seed.category == category.name]
            own.sort(key=lambda k: (-float(scores[k]), k))
            self._ranked[key] = [self._seeds[k] for k in own]
        return self._ranked[key]


def drawn(ranked: Sequence[T], count: int, draw: random.Random) -> list[T]:
    """Some of the best, in their order."""
    best = ranked[: POOL * count]
    return [best[k] for k in sorted(draw.sample(range(len(best)), min(count, len(best))))]
