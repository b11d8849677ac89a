r"""Balanced accuracy and AUROC of claims against documents, with bootstrap intervals.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144; LLM-AggreFact is from Tang et al. 2024, arXiv 2404.10774. Per data set

    BAcc = ½ (TPR + TNR),   TPR = #(label 1, score > θ) / #(label 1),
                            TNR = #(label 0, score ≤ θ) / #(label 0),

at θ = 0.5 for the score P(supported), which is a margin log P(Yes) − log P(No) above 0. The group's
figure is the unweighted mean of the eleven data sets.

    >>> items = [{"label": 1, "margin": 2.0}, {"label": 1, "margin": -1.0},
    ...          {"label": 0, "margin": -0.5}, {"label": 0, "margin": -3.0}]
    >>> balanced_accuracy(items), auroc(items)
    (0.75, 0.75)

Each item also names its ``document``, which only the intervals need.

Deviations: none in the point value. The paper gives no intervals; here documents are resampled
(1,000 times), each with all its claims, because claims about one document succeed and fail
together: LLM-AggreFact's 29,320 claims rest on about 2,849 documents. The AUROC, free of any
threshold, stands beside. With claims of one label only, both are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import statistics
from harness.statistics import Floats, Statistic

Item = Mapping[str, Any]
"""A judged claim: ``label`` (1 = supported, 0 = not), ``margin`` (log-odds, nats), ``document``."""


def _labels_and_margins(items: Sequence[Item]) -> tuple[npt.NDArray[np.bool_], Floats]:
    labels = np.array([item["label"] == 1 for item in items], dtype=bool)
    return labels, np.array([item["margin"] for item in items], dtype=np.float64)


def weighted_balanced_accuracy(items: Sequence[Item], weights: Floats) -> Floats:
    """Balanced accuracy at P(supported) > 0.5 for each row of weights.

    Args:
        items: Judged claims, n of them.
        weights: Weights [B, n].

    Returns:
        Values [B]; NaN where one label has no weight.
    """
    positive, margins = _labels_and_margins(items)
    right = (margins > 0) == positive
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = [
            weights @ (right & side) / (weights @ side.astype(np.float64))
            for side in (positive, ~positive)
        ]
    return np.asarray((recalls[0] + recalls[1]) / 2, dtype=np.float64)


def weighted_auroc(items: Sequence[Item], weights: Floats) -> Floats:
    """Area under the ROC curve for each row of weights [B, n]; ties count one half."""
    positive, margins = _labels_and_margins(items)
    return statistics.auroc(positive, margins, weights)


def _document(item: Item) -> str:
    return str(item["document"])


balanced_accuracy = Statistic(
    "harness_factcg.metrics.balanced_accuracy", weighted_balanced_accuracy, unit=_document
)
balanced_accuracy_ci95 = balanced_accuracy.ci95
auroc = Statistic("harness_factcg.metrics.auroc", weighted_auroc, unit=_document)
auroc_ci95 = auroc.ci95
