"""Detection metrics: does a score tell texts with a concept from others (Wu et al. 2025, §3.1).

Per concept, from positives P, negatives N and hard negatives H; then the mean over concepts, which
are what the bootstrap resamples. A text is predicted positive if its score reaches the threshold.

- ``auroc``: P against N, ties one half.
- ``hard_negative_accuracy``: at the threshold with the largest tpr − fpr on P ∪ N (Youden's J), the
  mean of two accuracies, that on P and that on H. A concept where no threshold beats chance is left
  out, and counted by ``n_without_threshold``.
- ``f1``, ``precision``, ``recall`` and ``accuracy``: on all rows, P ∪ N ∪ H, at the threshold θ
  with the largest F1 on P ∪ N. ``f1_without_hard`` is that largest F1 itself.
- ``imbalanced_f1``: the largest F1 of P against negatives sampled from all concepts.

All is as in the paper's code, but for scores, which are not rounded.

Worked example: positives score 4 and 2, negatives 3 and 1, a hard negative 5. Of the four pairs
three are in order: AUROC ¾. J is ½ at the thresholds 4 and 2; of equals the largest is taken, so
the positives are half right and the hard negative is wrong: (½ + 0) / 2 = ¼. F1 without the hard
negative is largest at θ = 2, with two true and one false positive: 2·2 / (2·2 + 1) = 0.8. On all
rows the hard negative is a second false positive: F1 2·2 / (2·2 + 2) = ⅔, precision ½, recall 1,
accuracy 3/5.

Both choices among equal thresholds are those of ``argmax`` over scikit-learn's curves: the largest
threshold for J, the smallest for F1. A concept that lacks a kind of row is left out of the metrics
that need it; in AxBench's data a few concepts have no hard negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from harness.statistics import Floats
from harness_axbench.metrics.concept_mean import ConceptMean, ConceptValue, Item

POSITIVE, NEGATIVE, HARD = "positive", "negative", "hard negative"
SAMPLED = "imbalanced negative"
"""A negative of any concept, scored for this one."""


def _scores(items: Sequence[Item], category: str) -> Floats:
    return np.array([i["score"] for i in items if i["category"] == category], dtype=np.float64)


def _labelled(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Labels [n] and scores [n] of two classes."""
    labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    return labels, np.r_[positive, negative]


def auroc_of(items: Sequence[Item]) -> float:
    """One concept's AUROC, positives against negatives; NaN without either."""
    positive, negative = _scores(items, POSITIVE), _scores(items, NEGATIVE)
    if not len(positive) or not len(negative):
        return math.nan
    return float(roc_auc_score(*_labelled(positive, negative)))


def youden_threshold(positive: Floats, negative: Floats) -> float:
    """The score at which tpr − fpr is largest; of equals the largest.

    Args:
        positive: Scores [n] of positives.
        negative: Scores [m] of negatives.

    Returns:
        A score of the data; infinity where no threshold beats chance.
    """
    fpr, tpr, thresholds = roc_curve(*_labelled(positive, negative))
    return float(thresholds[np.argmax(tpr - fpr)])


def best_f1(positive: Floats, negative: Floats) -> tuple[float, float]:
    """The largest F1 and its threshold; of equals the smallest.

    Args:
        positive: Scores [n] of positives.
        negative: Scores [m] of negatives.
    """
    precision, recall, thresholds = precision_recall_curve(*_labelled(positive, negative))
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1[:-1]))  # the curve's last point has no threshold
    return float(f1[best]), float(thresholds[best])


def hard_negative_accuracy_of(items: Sequence[Item]) -> float:
    """One concept's mean of the accuracies on positives and hard negatives.

    NaN without either, and where no threshold beats chance.
    """
    positive, negative, hard = (_scores(items, kind) for kind in (POSITIVE, NEGATIVE, HARD))
    if not len(positive) or not len(negative) or not len(hard):
        return math.nan
    threshold = youden_threshold(positive, negative)
    if math.isinf(threshold):
        return math.nan
    return float((np.mean(positive >= threshold) + np.mean(hard < threshold)) / 2)


def without_threshold_of(items: Sequence[Item]) -> float:
    """1 if no threshold tells one concept's positives from its negatives better than chance."""
    positive, negative = _scores(items, POSITIVE), _scores(items, NEGATIVE)
    if not len(positive) or not len(negative):
        return math.nan
    return float(math.isinf(youden_threshold(positive, negative)))


def f1_of(items: Sequence[Item]) -> float:
    """One concept's F1 on all rows at the threshold that is best without hard negatives."""
    counts = _counts(items)
    if counts is None:
        return math.nan
    true, false, positives, _ = counts
    return 2 * true / (true + false + positives)


def f1_without_hard_of(items: Sequence[Item]) -> float:
    """One concept's largest F1, positives against negatives; NaN without either."""
    positive, negative = _scores(items, POSITIVE), _scores(items, NEGATIVE)
    return best_f1(positive, negative)[0] if len(positive) and len(negative) else math.nan


def imbalanced_f1_of(items: Sequence[Item]) -> float:
    """One concept's largest F1, positives against sampled negatives; NaN without either."""
    positive, negative = _scores(items, POSITIVE), _scores(items, SAMPLED)
    return best_f1(positive, negative)[0] if len(positive) and len(negative) else math.nan


def _counts(items: Sequence[Item]) -> tuple[int, int, int, int] | None:
    """True positives, false positives, positives and rows at the F1 threshold, on all rows."""
    positive, negative, hard = (_scores(items, kind) for kind in (POSITIVE, NEGATIVE, HARD))
    if not len(positive) or not len(negative):
        return None
    threshold = best_f1(positive, negative)[1]
    others = np.r_[negative, hard]
    true, false = int(np.sum(positive >= threshold)), int(np.sum(others >= threshold))
    return true, false, len(positive), len(positive) + len(others)


def precision_of(items: Sequence[Item]) -> float:
    """One concept's precision on all rows at the F1 threshold."""
    counts = _counts(items)
    return math.nan if counts is None else counts[0] / (counts[0] + counts[1])


def recall_of(items: Sequence[Item]) -> float:
    """One concept's recall at the F1 threshold."""
    counts = _counts(items)
    return math.nan if counts is None else counts[0] / counts[2]


def accuracy_of(items: Sequence[Item]) -> float:
    """One concept's accuracy on all rows at the F1 threshold."""
    counts = _counts(items)
    if counts is None:
        return math.nan
    true, false, positives, rows = counts
    return (rows - false - (positives - true)) / rows


def _share(name: str, of: ConceptValue, *, optional: bool = False) -> ConceptMean:
    return ConceptMean(f"{__name__}.{name}", of, optional=optional, bounds=(0.0, 1.0))


auroc = _share("auroc", auroc_of)
auroc_ci95 = auroc.ci95
hard_negative_accuracy = _share("hard_negative_accuracy", hard_negative_accuracy_of, optional=True)
hard_negative_accuracy_ci95 = hard_negative_accuracy.ci95
f1 = _share("f1", f1_of)
f1_ci95 = f1.ci95
f1_without_hard = _share("f1_without_hard", f1_without_hard_of)
f1_without_hard_ci95 = f1_without_hard.ci95
precision = _share("precision", precision_of)
precision_ci95 = precision.ci95
recall = _share("recall", recall_of)
recall_ci95 = recall.ci95
accuracy = _share("accuracy", accuracy_of)
accuracy_ci95 = accuracy.ci95
imbalanced_f1 = _share("imbalanced_f1", imbalanced_f1_of)
imbalanced_f1_ci95 = imbalanced_f1.ci95


_without_threshold = ConceptMean(f"{__name__}.without_threshold", without_threshold_of)


def n_without_threshold(items: Sequence[Item]) -> int:
    """How many concepts no threshold detects better than chance."""
    return sum(value == 1 for value in _without_threshold.values(items).values())


def n_unparsed(items: Sequence[Item]) -> int:
    """How many answers held no rating."""
    return sum(bool(item["unparsed"]) for item in items)
