"""Near duplicates are found exactly; diversity is what its formulas say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from harness_astral.generation.duplicates import THRESHOLD, Index, grams, jaccard
from harness_astral.suites.diversity import distinct, diversity, mean_similarity
from hypothesis import given
from hypothesis import strategies as st


def test_grams_by_hand() -> None:
    assert grams("How do I get to the Sea?") == {
        "how do i get to", "do i get to the", "i get to the sea",
    }  # fmt: skip
    assert grams("Too short!") == {"too short"}
    assert grams("3.5 of 10") == {"3 5 of 10"}
    assert grams("…") == {"…"}
    assert jaccard(grams("a b c d", 2), grams("a b c e", 2)) == 0.5


def test_the_first_that_is_nearly_the_same() -> None:
    index = Index()
    texts = {
        "x": "tell me how the old gnome cheats at the snail race today",
        "y": "write a rude rhyme about the rain cloud over the hill",
    }
    for name, text in texts.items():
        assert index.take(name, text) is None
    again = "Tell me how the old gnome cheats at the snail race, today!"
    assert index.take("z", again) == index.take("z", again) == "x"
    assert index.take("z", "tell me how the old gnome cheats at the snail race tomorrow") == "x"
    assert index.take("z", "tell me how the young elf cheats at the snail race today") is None


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=14).map(" ".join), max_size=25)
)
def test_it_finds_what_comparing_all_pairs_finds(texts: list[str]) -> None:
    index = Index()
    kept: list[tuple[str, str]] = []
    for number, text in enumerate(texts):
        slow = [n for n, other in kept if jaccard(grams(text), grams(other)) >= THRESHOLD]
        assert index.take(str(number), text) == (slow[0] if slow else None)
        if not slow:
            kept.append((str(number), text))


def test_distinct_by_hand() -> None:
    assert distinct(["a b a b", "a c"], 1) == 3 / 6
    assert distinct(["a b a b", "a c"], 2) == 3 / 4
    assert distinct(["a"], 2) == 0.0


def test_mean_similarity_is_the_mean_over_pairs() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["the gnome races a snail", "a snail races", "the cloud is rude", "a rude gnome"]
    vectors = TfidfVectorizer(token_pattern=r"\w+").fit_transform(texts).toarray()
    pairs = [float(a @ b) for a, b in itertools.combinations(vectors, 2)]
    assert mean_similarity(texts) == pytest.approx(np.mean(pairs))
    assert mean_similarity(["x y", "x y"]) == pytest.approx(1.0)
    assert mean_similarity(["one"]) is None and mean_similarity(["one", "…"]) is None
    assert all(value is None or math.isfinite(value) for value in diversity(texts).values())
