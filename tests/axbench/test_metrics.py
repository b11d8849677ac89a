"""The metrics by hand, and against scikit-learn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from harness_axbench import metrics, ratings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from harness.judging import parse_rating


def item(concept: int, factor: float | None, split: str, *values: float | None) -> dict[str, Any]:
    named = dict(zip(ratings.NAMES, values, strict=True))
    return {"concept_id": concept, "factor": factor, "split": split, **named}


def test_harmonic_mean() -> None:
    assert metrics.harmonic_mean([2, 1, 2]) == 1.5
    assert metrics.harmonic_mean([2, 2, 2]) == 2
    assert metrics.harmonic_mean([0, 2, None]) == 0
    assert math.isnan(metrics.harmonic_mean([1, 2, None]))


TWO = [
    # concept 0: selection means 1.5 at 0.2 and 2 at 0.4, so the test at 0.4 counts: (1 + 0) / 2
    item(0, 0.2, "select", 2, 1, 2),
    item(0, 0.4, "select", 2, 2, 2),
    item(0, 0.2, "test", 2, 2, 2),
    item(0, 0.4, "test", 1, 1, 1),
    item(0, 0.4, "test", 0, 2, 2),
    # concept 1: a tie at 1, so the smaller factor: 1.5
    item(1, 5.0, "select", 1, 1, 1),
    item(1, 2.5, "select", 1, 1, 1),
    item(1, 5.0, "test", 2, 2, 2),
    item(1, 2.5, "test", 2, 1, 2),
]


def test_selection_then_test_by_hand() -> None:
    assert metrics.overall_score(TWO) == pytest.approx((0.5 + 1.5) / 2)
    assert metrics.factor(TWO) == pytest.approx((0.4 + 2.5) / 2)
    assert metrics.concept_score(TWO) == pytest.approx((0.5 + 2) / 2)
    assert metrics.instruct_score(TWO) == pytest.approx((1.5 + 1) / 2)
    assert metrics.fluency_score(TWO) == pytest.approx((1.5 + 2) / 2)
    assert metrics.n_unscored(TWO) == 0
    assert metrics.overall_score_worst(TWO) == metrics.overall_score_best(TWO)


def test_concepts_are_what_is_resampled() -> None:
    means = set(np.round(metrics.overall_score.replicates(TWO), 6))
    assert means == {0.5, 1.0, 1.5}
    assert metrics.overall_score.stderr(TWO) == pytest.approx(0.5 / math.sqrt(2), rel=0.05)
    assert metrics.overall_score_ci95(TWO) == [0.5, 1.5]


def test_without_factors_the_test_rows_count() -> None:
    rows = [item(0, None, "test", 2, 2, 2), item(0, None, "test", 1, 1, 1)]
    assert metrics.overall_score(rows) == 1.5
    assert math.isnan(metrics.factor(rows))


def test_what_a_limit_cuts_off_is_left_out() -> None:
    rows = [*TWO, item(2, 0.2, "select", 2, 2, 2)]
    assert metrics.overall_score(rows) == metrics.overall_score(TWO)
    assert metrics.factor(rows) == metrics.factor(TWO)
    assert math.isnan(metrics.overall_score(rows[-1:]))
    assert math.isnan(metrics.overall_score_worst(rows[-1:]))
    assert math.isnan(metrics.overall_score([item(0, 0.2, "test", 1, 1, 1)]))


rating = st.sampled_from([0.0, 1.0, 2.0, None])


@settings(deadline=None)
@given(st.lists(st.tuples(rating, rating, rating), min_size=8, max_size=8))
def test_bounds_hold_for_every_outcome(drawn: list[tuple[float | None, ...]]) -> None:
    places = itertools.product((0.2, 0.4), ("select", "test"), range(2))
    rows = [item(0, f, split, *r) for (f, split, _), r in zip(places, drawn, strict=True)]
    low, high = metrics.overall_score_worst(rows), metrics.overall_score_best(rows)
    found = metrics.overall_score(rows)
    assert math.isnan(found) or low - 1e-9 <= found <= high + 1e-9
    gaps = [(k, name) for k, r in enumerate(rows) for name in ratings.NAMES if r[name] is None]
    for fill in itertools.islice(itertools.product((0.0, 1.0, 2.0), repeat=len(gaps)), 200):
        full = [dict(row) for row in rows]
        for (place, name), value in zip(gaps, fill, strict=True):
            full[place][name] = value
        assert low - 1e-9 <= metrics.overall_score(full) <= high + 1e-9


def test_auroc_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    rows, expected = [], []
    for concept in range(4):
        labels = rng.integers(0, 2, 30)
        scores = np.round(rng.normal(labels, 1.5), 1)
        expected.append(roc_auc_score(labels, scores))
        for label, value in zip(labels, scores, strict=True):
            category = "positive" if label else "negative"
            rows.append({"concept_id": concept, "category": category, "score": float(value)})
        rows.append({"concept_id": concept, "category": "hard negative", "score": 99.0})
    assert metrics.auroc(rows) == pytest.approx(np.mean(expected))
    low, high = metrics.auroc_ci95(rows)
    assert min(expected) - 1e-4 <= low < np.mean(expected) < high <= max(expected) + 1e-4


def test_auroc_without_both_kinds() -> None:
    rows = [{"concept_id": 0, "category": "positive", "score": 1.0}]
    assert math.isnan(metrics.auroc(rows))


def test_the_judges_questions() -> None:
    odd = "a {concept} in braces {} and {0}"
    asked = ratings.questions(concept="the sea", instruction="Tell me.", response=odd)
    assert list(asked) == ["concept", "relatedness", "fluency"]
    for name, question in asked.items():
        assert odd in question.prompt
        assert "Rating: [[score]]" in question.prompt
        assert question.facts["rating"] == name
        assert question.facts["response"] == odd
    assert "the sea" in asked["concept"].prompt
    assert "the sea" not in asked["fluency"].prompt
    assert "Tell me." in asked["relatedness"].prompt
    assert parse_rating("It is there.\nRating: [[2]]", 0, 2) == 2
