from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from harness_factcg import metrics
from harness_factcg.data import core_pairs
from harness_factcg.metrics import (
    auroc,
    auroc_ci95,
    balanced_accuracy,
    balanced_accuracy_ci95,
    ece,
    mean_balanced_accuracy,
    pairs_per_second,
    precision,
    precision_ci95,
    recall,
    recall_ci95,
    reliability,
    thresholds,
    truncated_share,
    weighted_auroc,
)
from harness_factcg.metrics import core as core_metrics
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    balanced_accuracy_score,
    precision_score,
    recall_score,
    roc_auc_score,
)


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


def test_precision_and_recall_by_hand():
    # called supported: two supported claims and one other; one supported claim is missed
    found = items((1, 0.1), (1, 3.0), (1, -0.2), (0, -5.0), (0, 0.4))
    assert precision(found) == pytest.approx(2 / 3)
    assert recall(found) == pytest.approx(2 / 3)
    assert precision(items((1, -1.0), (0, -1.0))) == 0.0
    assert math.isnan(recall(items((0, -1.0), (0, 1.0))))


def test_precision_and_recall_against_sklearn():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 300)
    margins = rng.normal(labels - 0.3, 1.0)
    found = items(*zip(labels.tolist(), margins.tolist(), strict=True), share=3)
    assert precision(found) == pytest.approx(precision_score(labels, margins > 0))
    assert recall(found) == pytest.approx(recall_score(labels, margins > 0))


def logit(score):
    return math.log(score / (1 - score))


def test_ece_by_hand():
    # (0.6, 0.667]: scores .61 and .65, one supported: |0.5 − 0.63| · 2/4
    # (0.0, 0.067]: score .05, not supported:          |0 − 0.05| · 1/4
    # (0.933, 1.0]: score .95, supported:              |1 − 0.95| · 1/4
    found = items((1, logit(0.61)), (0, logit(0.65)), (0, logit(0.05)), (1, logit(0.95)))
    assert ece(found) == pytest.approx((0.26 + 0.05 + 0.05) / 4)


def test_reliability_by_hand():
    found = items((1, logit(0.61)), (0, logit(0.65)), (0, logit(0.05)))
    low, high = reliability(found)
    assert low == {"above": 0.0, "to": 0.0667, "n": 1, "score": pytest.approx(0.05), "supported": 0}
    assert high == {
        "above": 0.6,
        "to": 0.6667,
        "n": 2,
        "score": pytest.approx(0.63),
        "supported": 0.5,
    }


def test_scores_of_nought_and_one_have_a_bin():
    found = items((0, -math.inf), (1, math.inf), (0, -800.0), (1, 800.0))
    assert ece(found) == 0.0
    assert [(row["above"], row["n"]) for row in reliability(found)] == [(0.0, 2), (0.9333, 2)]


def test_reliability_and_ece_against_sklearn():
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 2, 500)
    margins = rng.normal(2 * labels - 1, 1.5)
    found = items(*zip(labels.tolist(), margins.tolist(), strict=True), share=5)
    shares, means = calibration_curve(labels, 1 / (1 + np.exp(-margins)), n_bins=15)
    table = reliability(found)
    assert [row["supported"] for row in table] == pytest.approx(shares.tolist())
    assert [row["score"] for row in table] == pytest.approx(means.tolist())
    counts = np.array([row["n"] for row in table])
    assert ece(found) == pytest.approx(np.abs(shares - means) @ counts / 500)


def test_the_mean_over_data_sets_is_unweighted():
    # A: 2 of 2 and 1 of 2; B: 1 of 1 and 0 of 3
    one = items((1, 1.0), (1, 1.0), (0, -1.0), (0, 1.0))
    two = items((1, 1.0), (0, 1.0), (0, 1.0), (0, 1.0))
    found = [item | {"dataset": "A"} for item in one] + [item | {"dataset": "B"} for item in two]
    assert mean_balanced_accuracy(found) == pytest.approx((0.75 + 0.5) / 2)
    assert mean_balanced_accuracy([i | {"dataset": "A"} for i in one]) == balanced_accuracy(one)
    low, high = mean_balanced_accuracy.interval(found)
    assert 0.25 <= low <= high <= 1.0


def test_a_document_is_truncated_if_any_of_its_claims_saw_it_cut():
    rows = [("a", True), ("a", False), ("b", False), ("c", False), ("c", False)]
    found = [{"document": document, "truncated": cut} for document, cut in rows]
    assert truncated_share(found) == pytest.approx(1 / 3)
    dev = [{"document": "d", "truncated": True, "split": "dev"}]
    assert truncated_share(found + dev) == pytest.approx(1 / 3)
    assert math.isnan(truncated_share(dev))


def test_pairs_per_second():
    assert pairs_per_second([0.25, 0.5, 0.25]) == pytest.approx(3.0)


def test_a_weight_is_a_number_of_copies():
    found = items((1, 0.5), (0, 0.5), (0, -1.0), (1, 2.0))
    copies = [2, 1, 3, 1]
    repeated = [item for item, count in zip(found, copies, strict=True) for _ in range(count)]
    weights = np.array([copies, [1, 1, 1, 1], [0, 1, 1, 0]], dtype=float)
    values = weighted_auroc(found, weights)
    assert values[0] == pytest.approx(weighted_auroc(repeated, np.ones((1, 7)))[0])
    assert values[1] == pytest.approx(weighted_auroc(found, np.ones((1, 4)))[0])
    assert math.isnan(values[2])


METRICS = [balanced_accuracy, precision, recall, ece, auroc]


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_resamples_are_those_of_documents_drawn_with_all_their_claims(metric):
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 2
    margins = rng.normal(labels - 0.5, 1.0)
    found = items(*zip(labels.tolist(), margins.tolist(), strict=True), share=3)
    documents = [found[k : k + 3] for k in range(0, 60, 3)]
    values = []
    for _ in range(1000):
        drawn = rng.integers(0, 20, 20)
        values.append(metric([item for place in drawn for item in documents[place]]))
    assert metric.stderr(found) == pytest.approx(np.std(values), rel=0.12)


def test_intervals_hold_the_value_and_shrink_with_the_data():
    rng = np.random.default_rng(1)
    widths = []
    for size in (60, 960):
        labels = np.arange(size) % 2
        margins = rng.normal(labels - 0.5, 1.0)
        found = items(*zip(labels.tolist(), margins.tolist(), strict=True))
        for metric, interval in (
            (balanced_accuracy, balanced_accuracy_ci95),
            (auroc, auroc_ci95),
            (precision, precision_ci95),
            (recall, recall_ci95),
        ):
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


@pytest.mark.parametrize("module", [metrics, thresholds, core_pairs, core_metrics])
def test_worked_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 1 and found.failed == 0


def all_right(supported: int, others: int, claims: int = 1) -> list[dict]:
    labels = [1] * supported + [0] * others
    return [
        {"label": label, "margin": 2.0 if label else -2.0, "document": str(number)}
        for number, label in enumerate(labels)
        for _ in range(claims)
    ]


def wilsons(n: float) -> list[float]:
    """Of n of n."""
    return [round(n / (n + 1.959964**2), 4), 1.0]


def test_all_right_is_not_certain() -> None:
    assert metrics.balanced_accuracy(all_right(1, 1)) == 1.0
    assert metrics.balanced_accuracy_ci95(all_right(1, 1)) is None
    assert metrics.balanced_accuracy_ci95(all_right(24, 24)) == wilsons(48) == [0.9259, 1.0]
    assert metrics.balanced_accuracy_ci95(all_right(2, 2, claims=12)) == wilsons(4)
    # one supported claim says little: 4/(1/1 + 1/47) = 3.9 documents
    assert metrics.balanced_accuracy_ci95(all_right(1, 47)) == wilsons(4 * 47 / 48)
    assert (
        metrics.auroc_ci95(all_right(8, 40)) == metrics.recall_ci95(all_right(8, 40)) == wilsons(8)
    )
    assert metrics.precision_ci95(all_right(8, 40)) == wilsons(8)
    assert metrics.recall_ci95(all_right(0, 40)) is None


def test_all_right_on_test_at_a_tuned_threshold() -> None:
    from harness_factcg.metrics import thresholds

    rows = [
        item | {"split": split, "document": f"{split} {item['document']}"}
        for split, items in (("dev", all_right(5, 5)), ("test", all_right(8, 40)))
        for item in items
    ]
    both = 4 * 8 * 40 / 48
    assert thresholds.balanced_accuracy_ci95(rows) == wilsons(both)
    assert thresholds.dev_balanced_accuracy.ci95(rows) == wilsons(10)
    assert thresholds.recall_ci95(rows) == thresholds.precision_ci95(rows) == wilsons(8)
