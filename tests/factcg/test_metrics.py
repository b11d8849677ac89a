from __future__ import annotations

import math

import numpy as np
import pytest
from harness_factcg.metrics import (
    auroc,
    auroc_ci95,
    balanced_accuracy,
    balanced_accuracy_ci95,
    weighted_auroc,
    weighted_balanced_accuracy,
)
from sklearn.metrics import balanced_accuracy_score, roc_auc_score


def items(*pairs, share=1):
    """Judged claims; ``share`` of them in a row are about the same document."""
    return [
        {"label": label, "margin": margin, "document": str(k // share)}
        for k, (label, margin) in enumerate(pairs)
    ]


def test_balanced_accuracy_by_hand():
    # 2 of 3 supported claims and 1 of 2 others are right: (2/3 + 1/2) / 2
    found = balanced_accuracy(items((1, 0.1), (1, 3.0), (1, -0.2), (0, -5.0), (0, 0.4)))
    assert found == pytest.approx(7 / 12)


def test_a_margin_of_zero_is_not_supported():
    assert balanced_accuracy(items((1, 1e-12), (0, 0.0))) == 1.0
    assert balanced_accuracy(items((1, 0.0), (0, 0.0))) == 0.5


def test_auroc_by_hand():
    # of the four pairs (positive, negative): won, won, tied, lost
    assert auroc(items((1, 5.0), (1, 1.0), (0, 1.0), (0, 2.0))) == pytest.approx(2.5 / 4)


def test_infinite_margins_are_ranked():
    assert auroc(items((1, math.inf), (1, 0.0), (0, -math.inf))) == 1.0
    assert balanced_accuracy(items((1, math.inf), (0, -math.inf))) == 1.0


def test_one_label_only_has_no_value():
    one = items((1, 1.0), (1, -1.0))
    assert math.isnan(balanced_accuracy(one))
    assert math.isnan(auroc(one))
    assert math.isnan(balanced_accuracy.stderr(one))


def test_against_sklearn():
    rng = np.random.default_rng(5)
    for size in (20, 101, 700):
        labels = rng.integers(0, 2, size)
        labels[:2] = (0, 1)
        margins = np.round(rng.normal(labels * 0.8 - 0.3, 1.0), 1)
        found = items(*zip(labels.tolist(), margins.tolist(), strict=True))
        assert balanced_accuracy(found) == pytest.approx(
            balanced_accuracy_score(labels, margins > 0)
        )
        assert auroc(found) == pytest.approx(roc_auc_score(labels, margins))


@pytest.mark.parametrize("weighted", [weighted_balanced_accuracy, weighted_auroc])
def test_a_weight_is_a_number_of_copies(weighted):
    found = items((1, 0.5), (0, 0.5), (0, -1.0), (1, 2.0))
    copies = [2, 1, 3, 1]
    repeated = [item for item, count in zip(found, copies, strict=True) for _ in range(count)]
    weights = np.array([copies, [1, 1, 1, 1], [0, 1, 1, 0]], dtype=float)
    values = weighted(found, weights)
    assert values[0] == pytest.approx(weighted(repeated, np.ones((1, 7)))[0])
    assert values[1] == pytest.approx(weighted(found, np.ones((1, 4)))[0])
    assert math.isnan(values[2])


def test_intervals_hold_the_value_and_shrink_with_the_data():
    rng = np.random.default_rng(1)
    widths = []
    for size in (60, 960):
        labels = np.arange(size) % 2
        margins = rng.normal(labels - 0.5, 1.0)
        found = items(*zip(labels.tolist(), margins.tolist(), strict=True))
        for metric, interval in ((balanced_accuracy, balanced_accuracy_ci95), (auroc, auroc_ci95)):
            low, high = interval(found)
            assert low < metric(found) < high
        low, high = balanced_accuracy_ci95(found)
        assert high - low == pytest.approx(3.92 * balanced_accuracy.stderr(found), rel=0.15)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2.5


def test_claims_about_one_document_are_resampled_together():
    # ten copies of a claim are no more evidence than one
    rng = np.random.default_rng(2)
    labels = np.arange(80) % 2
    pairs = list(zip(labels.tolist(), rng.normal(labels - 0.5, 1.0).tolist(), strict=True))
    copies = [pair for pair in pairs for _ in range(10)]
    alone = balanced_accuracy.stderr(items(*pairs))
    assert balanced_accuracy.stderr(items(*copies, share=10)) == pytest.approx(alone)
    assert balanced_accuracy.stderr(items(*copies)) < alone / 2.5
