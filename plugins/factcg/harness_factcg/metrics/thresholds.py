r"""Thresholds tuned on a dev split, and the metrics at them on the test split.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144, report LLM-AggreFact also with one threshold a data set, found on its dev split:

    θ̂ = argmax_θ BAcc_dev(θ),   θ ∈ {0.01, 0.02, …, 0.99},   the lowest of equal ones;
    figure = BAcc_test(θ̂).

    >>> rows = [("dev", 1, 0.2), ("dev", 0, -0.5), ("test", 1, 0.3), ("test", 0, 0.1)]
    >>> items = [{"split": split, "label": label, "margin": margin, "document": str(number)}
    ...          for number, (split, label, margin) in enumerate(rows)]
    >>> threshold(items), dev_balanced_accuracy(items), balanced_accuracy(items)
    (0.38, 1.0, 0.5)

The margins on dev are scores of 0.55 and 0.378, which every θ from 0.38 to 0.54 sets apart. At 0.38
both test claims are called supported, one wrongly.

Deviations: dev rows that are test rows too are left out before (``data.aggrefact``), which the
paper's code does not do; of a data set without such rows the point values are the paper's. Standard
errors and intervals resample documents, each with all its claims, of dev and test alike, and tune
the threshold anew in every resample: its own uncertainty is in them. Where dev or test has claims
of one label only, all is NaN. The AUROC knows no threshold: it is that of ``llm_aggrefact``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.statistics import Floats
from harness_factcg.metrics import (
    ByDocument,
    Item,
    document_places,
    labels_and_margins,
    of_both,
    precision_of,
    ratio,
)

THRESHOLDS: Floats = np.arange(1, 100) / 100
_MARGINS = np.log(THRESHOLDS / (1 - THRESHOLDS))
_FIXED = int(np.searchsorted(THRESHOLDS, 0.5))
_SPLITS = {"dev": 0, "test": 1}
_CELLS = (len(_SPLITS), 2, len(THRESHOLDS) + 1)


def by_score(items: Sequence[Item]) -> Floats:
    """For each document, its claims by split, label and number of thresholds below the score.

    Args:
        items: Judged claims with ``split``, dev or test.

    Returns:
        Counts [documents, 2 · 2 · 100].
    """
    documents, places = document_places(items)
    positive, margins = labels_and_margins(items)
    splits = np.array([_SPLITS[item["split"]] for item in items])
    below = np.searchsorted(_MARGINS, margins, side="left")
    cells = np.ravel_multi_index(
        (places, splits, positive.astype(int), below), (documents, *_CELLS)
    )
    counts = np.bincount(cells, minlength=documents * int(np.prod(_CELLS)))
    return counts.reshape(documents, -1).astype(np.float64)


def figures(totals: Floats) -> dict[str, Floats]:
    """Every figure, for each of B runs or resamples.

    Args:
        totals: The counts of ``by_score``, summed over documents [B, 2 · 2 · 100].

    Returns:
        Values [B] by name; NaN where dev or test lacks a label.
    """
    counts = totals.reshape(-1, *_CELLS)
    all_ = counts.sum(3)  # [B, split, label]
    called = all_[..., None] - counts.cumsum(3)[..., :-1]  # called supported [B, split, label, θ]
    best = _best(called[:, 0], all_[:, 0])
    at_best = called[np.arange(len(best)), :, :, best]
    accuracy = _balanced_accuracy(at_best, all_)
    known = np.where((all_ > 0).all((1, 2)), 1.0, np.nan)
    right, wrong = at_best[:, 1, 1], at_best[:, 1, 0]
    found = {
        "balanced_accuracy": accuracy[:, 1],
        "threshold": THRESHOLDS[best],
        "dev_balanced_accuracy": accuracy[:, 0],
        "fixed_balanced_accuracy": _balanced_accuracy(called[..., _FIXED], all_)[:, 1],
        "precision": precision_of(right, right + wrong),
        "recall": ratio(right, all_[:, 1, 1]),
    }
    return {name: values * known for name, values in found.items()}


def _best(called: Floats, all_: Floats) -> npt.NDArray[np.intp]:
    """The place of the best threshold on dev [B], the lowest of equal ones.

    The balanced accuracy is compared times 2 · supported · others, a whole number, so that equal
    values are equal to the last digit.

    Args:
        called: Claims called supported, by label and threshold [B, 2, 99].
        all_: All claims, by label [B, 2].
    """
    others, supported = all_[:, :1], all_[:, 1:]
    right: Floats = called[:, 1] * others + (others - called[:, 0]) * supported
    best: npt.NDArray[np.intp] = right.argmax(1)
    return best


def tuned(items: Sequence[Item]) -> float:
    """The best threshold on some claims, the lowest of equal ones; NaN where a label is missing.

    >>> tuned([{"label": 1, "margin": 0.2}, {"label": 0, "margin": -0.5}])
    0.38
    """
    positive, margins = labels_and_margins(items)
    below = np.searchsorted(_MARGINS, margins, side="left")
    called = [
        (below[positive == label, None] > np.arange(len(THRESHOLDS))).sum(0) for label in (0, 1)
    ]
    all_ = np.array([[(positive == label).sum() for label in (0, 1)]], dtype=np.float64)
    if not all_.all():
        return math.nan
    return float(THRESHOLDS[_best(np.array([called], dtype=np.float64), all_)[0]])


def _balanced_accuracy(called: Floats, all_: Floats) -> Floats:
    """From claims called supported, and all, by split and label [B, 2, 2]: [B, split]."""
    recall = ratio(called[..., 1], all_[..., 1])
    return (recall + ratio(all_[..., 0] - called[..., 0], all_[..., 0])) / 2


_HERE = "harness_factcg.metrics.thresholds"


def _size(name: str, table: Floats) -> float:
    """Documents that a figure rests on, of the split that it is measured on."""
    counts = table.reshape(len(table), *_CELLS)
    claims = counts.sum(3)[:, int(name != "dev_balanced_accuracy")]  # [documents, label]
    if name == "recall":
        return float(np.count_nonzero(claims[:, 1]))
    if name == "precision":
        totals = counts.sum(0)[0]  # on dev [label, thresholds below the score]
        called = totals.sum(1)[:, None] - totals.cumsum(1)[:, :-1]
        best = int(_best(called[None], totals.sum(1)[None])[0])
        return float(np.count_nonzero(counts[:, 1, :, best + 1 :].sum((1, 2))))
    return of_both(claims[:, 0], claims[:, 1])


def _figure(name: str) -> ByDocument:
    def value(totals: Floats) -> Floats:
        return figures(totals)[name]

    return ByDocument(f"{_HERE}.{name}", by_score, value, lambda table: _size(name, table))


balanced_accuracy = _figure("balanced_accuracy")
balanced_accuracy_ci95 = balanced_accuracy.ci95
threshold = _figure("threshold")
dev_balanced_accuracy = _figure("dev_balanced_accuracy")
fixed_balanced_accuracy = _figure("fixed_balanced_accuracy")
precision = _figure("precision")
precision_ci95 = precision.ci95
recall = _figure("recall")
recall_ci95 = recall.ci95
