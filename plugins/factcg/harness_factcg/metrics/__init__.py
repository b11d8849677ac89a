r"""How well claims are checked: balanced accuracy, AUROC, precision, recall, calibration, cost.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144; LLM-AggreFact is from Tang et al. 2024, arXiv 2404.10774. Per data set

    BAcc = ½ (TPR + TNR),   TPR = #(label 1, score > θ) / #(label 1),
                            TNR = #(label 0, score ≤ θ) / #(label 0),

at θ = 0.5 for the score P(supported), which is a margin log P(Yes) − log P(No) above 0. The group's
figure is the unweighted mean of the eleven data sets.

    >>> items = [{"label": label, "margin": margin, "document": str(number)} for
    ...          number, (label, margin) in enumerate([(1, 2.0), (1, -1.0), (0, -0.5), (0, -3.0)])]
    >>> balanced_accuracy(items), auroc(items), precision(items), recall(items)
    (0.75, 0.75, 1.0, 0.5)

The expected calibration error (Naeini et al. 2015) puts the scores p into 15 bins of equal width,
the lower edge of a bin excluded, and compares the share that is supported with the mean score:

    ECE = Σ_m (n_m / n) | #(label 1 in m) / n_m − mean of p in m |

Deviations: none in the point values. The paper gives no intervals; here documents are resampled
(1,000 times), each with all its claims, because claims about one document succeed and fail
together: LLM-AggreFact's 29,320 claims rest on about 2,849 documents. Where all resamples are the
same (all right), the interval is Wilson's of the documents that the figure rests on; of fewer than
three there is none. The ECE has a standard error
but no interval: resampling adds noise to every bin, so its resamples lie above the value. With
claims of one label only, balanced accuracy and AUROC are NaN. Where no claim is called supported,
the precision is 0, as in scikit-learn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import Statistic, statistics
from harness.statistics import Floats, Parts

Item = Mapping[str, Any]
"""A judged claim: ``label`` (1 = supported, 0 = not), ``margin`` (log-odds, nats), ``document``."""

BINS = 15


def labels_and_margins(items: Sequence[Item]) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Labels [n] and margins [n]."""
    labels = np.array([item["label"] == 1 for item in items], dtype=bool)
    return labels, np.array([item["margin"] for item in items], dtype=np.float64)


def document_names(items: Sequence[Item]) -> npt.NDArray[np.str_]:
    """The documents, in the order of their rows in tables [documents]."""
    return np.unique([str(item["document"]) for item in items])


def document_places(items: Sequence[Item]) -> tuple[int, npt.NDArray[np.intp]]:
    """The number of documents, and each item's place among them [n]."""
    found, places = np.unique([str(item["document"]) for item in items], return_inverse=True)
    return len(found), places


class ByDocument(Statistic):
    """A statistic of totals over claims, which are summed by document before any resampling.

    Args:
        name: Dotted name, shown in saved configurations.
        table: Totals by document: items → [documents, k].
        value: The statistic of a run's totals: [B, k] → [B]; NaN where it is undefined.
        size: Documents that the value rests on: [documents, k] → number.
    """

    def __init__(
        self,
        name: str,
        table: Callable[[Sequence[Item]], Floats],
        value: Callable[[Floats], Floats],
        size: Callable[[Floats], float] = len,
    ) -> None:
        super().__init__(
            name,
            lambda items, weights: value(weights @ table(items)),
            bounds=(0.0, 1.0),
            size=lambda items: size(table(items)),
        )
        self._table = table
        self._value = value

    def __call__(self, items: Sequence[Item]) -> float:
        return float(self._value(self._table(items).sum(0)[None])[0])

    def parts(self, items: Sequence[Item]) -> Parts:
        """The totals by document, which are resampled."""
        names, table = document_names(items), self._table(items)
        return Parts(list(names), lambda counts: self._value(counts @ table))

    def replicates(self, items: Sequence[Item]) -> Floats:
        values = self._value(_resampled(self, self._table(items)))
        known: Floats = values[~np.isnan(values)]
        return known


_KEPT: dict[str, Floats] = {}
"""The resampled totals of the last table: several metrics, and their intervals, share them."""


def _resampled(statistic: Statistic, table: Floats) -> Floats:
    """The totals of a table by document [documents, k] in each of B resamples: [B, k]."""
    key = hashlib.sha256(str(table.shape).encode() + table.tobytes()).hexdigest()
    if key not in _KEPT:
        draws = statistic.draws(len(table), cells=len(table))
        _KEPT.clear()
        _KEPT[key] = np.concatenate([drawn @ table for drawn in draws])
    return _KEPT[key]


def summed(items: Sequence[Item], columns: Floats) -> Floats:
    """Columns [n, k] of claims, summed by document: [documents, k]."""
    documents, places = document_places(items)
    sums = [np.bincount(places, weights=column, minlength=documents) for column in columns.T]
    return np.stack(sums, axis=1)


def ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``; NaN where the whole is 0."""
    values = np.full_like(whole, np.nan)
    np.divide(part, whole, out=values, where=whole > 0)
    return values


def precision_of(right: Floats, called: Floats) -> Floats:
    """The share of the claims called supported that are; 0 where none is called so."""
    values = np.zeros_like(called)
    np.divide(right, called, out=values, where=called > 0)
    return values


def _right(items: Sequence[Item]) -> Floats:
    """Whether a claim is supported and right, supported, not and right, not [n, 4]."""
    positive, margins = labels_and_margins(items)
    called = margins > 0
    columns = (positive & called, positive, ~positive & ~called, ~positive)
    return np.stack(columns, axis=1).astype(np.float64)


def right_by_label(items: Sequence[Item]) -> Floats:
    """For each document: right and all supported claims, right and all others [documents, 4]."""
    return summed(items, _right(items))


def right_by_data_set(items: Sequence[Item]) -> Floats:
    """The same for each data set, side by side [documents, data sets · 4]."""
    names, places = np.unique([item["dataset"] for item in items], return_inverse=True)
    inside = places[:, None] == np.arange(len(names))
    return summed(items, (inside[:, :, None] * _right(items)[:, None]).reshape(len(items), -1))


def _balanced_accuracy(totals: Floats) -> Floats:
    return (ratio(totals[:, 0], totals[:, 1]) + ratio(totals[:, 2], totals[:, 3])) / 2


def _precision(totals: Floats) -> Floats:
    return precision_of(totals[:, 0], totals[:, 0] + totals[:, 3] - totals[:, 2])


def _recall(totals: Floats) -> Floats:
    return ratio(totals[:, 0], totals[:, 1])


def _mean_balanced_accuracy(totals: Floats) -> Floats:
    parts = totals.reshape(-1, 4)
    values: Floats = _balanced_accuracy(parts).reshape(len(totals), -1).mean(1)
    return values


def of_both(one: Floats, other: Floats) -> float:
    """Documents that the mean of two shares rests on: 4/(1/m + 1/n), of m and n documents.

    Its variance is ¼ (p q/m + p q/n), that of one share of so many; never more than there are.

    Args:
        one: Claims of the first kind in each document [documents].
        other: Those of the second.
    """
    m, n = np.count_nonzero(one), np.count_nonzero(other)
    return min(float(len(one)), 4 * m * n / (m + n)) if m and n else 0.0


def _of_labels(table: Floats) -> float:
    return of_both(table[:, 1], table[:, 3])


def _of_data_sets(table: Floats) -> float:
    """Documents that the mean over data sets rests on, each of which counts the same."""
    parts = [_of_labels(part) for part in np.split(table, table.shape[1] // 4, axis=1)]
    return min(len(table), len(parts) ** 2 / sum(1 / n for n in parts)) if all(parts) else 0.0


def _called(table: Floats) -> float:
    return float(np.count_nonzero(table[:, 0] + table[:, 3] - table[:, 2]))


def _supported(table: Floats) -> float:
    return float(np.count_nonzero(table[:, 1]))


def _of_pairs(items: Sequence[Item]) -> float:
    """Documents that an AUROC rests on: those of the rarer label, which bound its variance."""
    table = right_by_label(items)
    return float(min(np.count_nonzero(table[:, 1]), np.count_nonzero(table[:, 3])))


def scores(margins: Floats) -> Floats:
    """P(supported) = 1 / (1 + e^−margin), [n]."""
    values: Floats = np.exp(-np.logaddexp(0.0, -margins))
    return values


def _bins(margins: Floats) -> npt.NDArray[np.intp]:
    """Each score's bin [n]: (0, 1/15], (1/15, 2/15], …; a score of 0 is in the first."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.searchsorted(edges[1:-1], scores(margins), side="left")


def _calibration(items: Sequence[Item]) -> Floats:
    """For each document: what supported claims exceed the scores by, in each bin; and claims."""
    positive, margins = labels_and_margins(items)
    columns = np.zeros((len(items), BINS + 1))
    columns[np.arange(len(items)), _bins(margins)] = positive - scores(margins)
    columns[:, BINS] = 1
    return summed(items, columns)


def _ece(totals: Floats) -> Floats:
    return ratio(np.abs(totals[:, :BINS]).sum(1), totals[:, BINS])


def reliability(items: Sequence[Item]) -> list[dict[str, float]]:
    """The reliability table: what share of the claims of like score is supported.

    Returns:
        One dict a bin that has claims: ``above`` and ``to`` (its edges), ``n`` (claims), ``score``
        (their mean P(supported)), ``supported`` (the share with label 1).
    """
    positive, margins = labels_and_margins(items)
    bins, likely = _bins(margins), scores(margins)
    return [
        {
            "above": round(int(number) / BINS, 4),
            "to": round((int(number) + 1) / BINS, 4),
            "n": int((bins == number).sum()),
            "score": float(likely[bins == number].mean()),
            "supported": float(positive[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]


def weighted_auroc(items: Sequence[Item], weights: Floats) -> Floats:
    """Area under the ROC curve for each row of weights [B, n]; ties count one half."""
    positive, margins = labels_and_margins(items)
    return statistics.auroc(positive, margins, weights)


def truncated_share(items: Sequence[Item]) -> float:
    """The share of documents of which a part was cut off for any claim.

    Args:
        items: Each with ``document`` and ``truncated``; those of split dev do not count.
    """
    found: dict[str, bool] = {}
    for item in items:
        if item.get("split") != "dev":
            found[item["document"]] = found.get(item["document"], False) or item["truncated"]
    return sum(found.values()) / len(found) if found else math.nan


def pairs_per_second(seconds: Sequence[float]) -> float:
    """(document, claim) pairs scored in a second by one process.

    Args:
        seconds: What each pair took, above 0.
    """
    return len(seconds) / sum(seconds)


def document_id(text: str) -> str:
    """What a document is called among the items: equal texts are one document."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def document_of(item: Item) -> str:
    """What is resampled: the document of a claim."""
    return str(item["document"])


_HERE = "harness_factcg.metrics"
balanced_accuracy = ByDocument(
    f"{_HERE}.balanced_accuracy", right_by_label, _balanced_accuracy, _of_labels
)
balanced_accuracy_ci95 = balanced_accuracy.ci95
mean_balanced_accuracy = ByDocument(
    f"{_HERE}.mean_balanced_accuracy", right_by_data_set, _mean_balanced_accuracy, _of_data_sets
)
mean_balanced_accuracy_ci95 = mean_balanced_accuracy.ci95
auroc = Statistic(
    f"{_HERE}.auroc", weighted_auroc, unit=document_of, bounds=(0.0, 1.0), size=_of_pairs
)
auroc_ci95 = auroc.ci95
precision = ByDocument(f"{_HERE}.precision", right_by_label, _precision, _called)
precision_ci95 = precision.ci95
recall = ByDocument(f"{_HERE}.recall", right_by_label, _recall, _supported)
recall_ci95 = recall.ci95
ece = ByDocument(f"{_HERE}.ece", _calibration, _ece)
