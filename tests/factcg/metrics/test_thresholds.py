"""Tuned thresholds against scikit-learn and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness_factcg.metrics import thresholds
from harness_factcg.metrics.thresholds import (
    balanced_accuracy,
    dev_balanced_accuracy,
    fixed_balanced_accuracy,
    precision,
    recall,
    threshold,
)
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score


def logit(score):
    return math.log(score / (1 - score))


def items(split, *pairs, share=1):
    """Claims with a score each; ``share`` of them in a row are about the same document."""
    return [
        {"split": split, "label": label, "margin": logit(score), "document": f"{split}{k // share}"}
        for k, (label, score) in enumerate(pairs)
    ]


def drawn(seed, size=240, shift=1.0):
    rng = np.random.default_rng(seed)
    found = []
    for split in ("dev", "test"):
        labels = rng.integers(0, 2, size)
        scores = 1 / (1 + np.exp(-rng.normal(2 * labels - shift, 1.5)))
        found += items(split, *zip(labels.tolist(), scores.tolist(), strict=True), share=4)
    return found


def accuracy(labels, called):
    return (called[labels == 1].mean() + (~called[labels == 0]).mean()) / 2


def brute_force(found):
    """The threshold, its dev value, and the test claims; one threshold at a time."""
    labels, scores = {}, {}
    for split in ("dev", "test"):
        part = [item for item in found if item["split"] == split]
        labels[split] = np.array([item["label"] for item in part])
        scores[split] = 1 / (1 + np.exp([-item["margin"] for item in part]))
    values = [accuracy(labels["dev"], scores["dev"] > k / 100) for k in range(1, 100)]
    best = round(max(values), 12)
    theta = next(k for k, value in enumerate(values, start=1) if round(value, 12) == best) / 100
    return theta, best, labels["test"], scores["test"]


def test_by_hand():
    # on dev, scores above 0.30 and up to 0.44 tell all apart: the lowest threshold that does is 0.3
    dev = items("dev", (1, 0.8), (1, 0.45), (0, 0.295), (0, 0.1))
    test = items("test", (1, 0.9), (1, 0.31), (1, 0.2), (0, 0.35), (0, 0.25))
    found = dev + test
    assert threshold(found) == 0.3
    assert dev_balanced_accuracy(found) == 1.0
    assert balanced_accuracy(found) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert precision(found) == pytest.approx(2 / 3)
    assert recall(found) == pytest.approx(2 / 3)
    assert fixed_balanced_accuracy(found) == pytest.approx((1 / 3 + 1) / 2)


def test_a_score_at_the_threshold_is_not_above_it():
    found = items("dev", (1, 0.505), (0, 0.5)) + items("test", (1, 0.6), (0, 0.5))
    assert threshold(found) == 0.5
    assert balanced_accuracy(found) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_against_sklearn(seed):
    found = drawn(seed)
    theta, best, labels, scores = brute_force(found)
    assert threshold(found) == theta
    assert dev_balanced_accuracy(found) == pytest.approx(best)
    assert balanced_accuracy(found) == pytest.approx(
        balanced_accuracy_score(labels, scores > theta)
    )
    assert precision(found) == pytest.approx(precision_score(labels, scores > theta))
    assert recall(found) == pytest.approx(recall_score(labels, scores > theta))
    assert fixed_balanced_accuracy(found) == pytest.approx(
        balanced_accuracy_score(labels, scores > 0.5)
    )


def test_equal_values_take_the_lowest_threshold():
    # right: 3 of 5 and 3 of 5 up to 0.34, then 2 of 5 and 4 of 5; as sums of quotients the second
    # is larger in the last digit
    assert 3 / 5 + 3 / 5 < 2 / 5 + 4 / 5
    dev = items("dev", *[(1, 0.005)] * 2, (1, 0.35), *[(1, 0.9)] * 2)
    dev += items("dev", *[(0, 0.005)] * 3, (0, 0.35), (0, 0.95))
    found = dev + items("test", (1, 0.9), (0, 0.1))
    assert threshold(found) == 0.01
    assert dev_balanced_accuracy(found) == pytest.approx(0.6)


def test_the_test_split_does_not_move_the_threshold():
    found = drawn(3)
    other = [
        item | {"label": 1 - item["label"]} if item["split"] == "test" else item for item in found
    ]
    assert threshold(found) == threshold(other)
    assert balanced_accuracy(other) == pytest.approx(1 - balanced_accuracy(found))


def test_one_label_only_has_no_value():
    both = items("x", (1, 0.9), (0, 0.1))
    one = items("x", (1, 0.9), (1, 0.1))
    for dev, test in ((one, both), (both, one), (both, []), ([], both)):
        found = [item | {"split": "dev"} for item in dev]
        found += [item | {"split": "test", "document": "t"} for item in test]
        for metric in (balanced_accuracy, threshold, dev_balanced_accuracy, precision, recall):
            assert math.isnan(metric(found))


def test_resamples_tune_anew():
    found = drawn(9, size=80)
    documents = {}
    for item in found:
        documents.setdefault(item["document"], []).append(item)
    names = sorted(documents)
    rng = np.random.default_rng(0)
    values, chosen = [], []
    for _ in range(300):
        sample = [item for name in rng.choice(names, len(names)) for item in documents[name]]
        if len({(item["split"], item["label"]) for item in sample}) == 4:
            theta, _, labels, scores = brute_force(sample)
            chosen.append(theta)
            values.append(accuracy(labels, scores > theta))
    assert balanced_accuracy.stderr(found) == pytest.approx(np.std(values), rel=0.15)
    assert threshold.stderr(found) == pytest.approx(np.std(chosen), rel=0.15)
    low, high = balanced_accuracy.ci95(found)
    assert low < balanced_accuracy(found) < high
    assert low == pytest.approx(np.quantile(values, 0.025), abs=0.03)


def test_the_thresholds_are_the_papers():
    assert thresholds.THRESHOLDS.tolist() == [k / 100 for k in range(1, 100)]
