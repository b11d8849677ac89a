r"""CoRe's metrics: how often a checker tells a document from the same without a needed relation.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144. With the answers of a pair, pos to the document and neg to the corrupted one,

    Acc_CoRe  = #(pos = 1, neg = 0) / #pairs,
    Prec_CoRe = #(pos = 1, neg = 0) / #(pos = 1),      an answer is 1 if P(supported) > θ.

θ is 0.5 unless the run says otherwise (``core_threshold``).

    >>> answers = [(2.0, -1.0), (1.0, 0.5), (-0.5, -2.0)]  # margins of three pairs
    >>> items = [{"pair": number, "label": label, "margin": margin} for number, pair in
    ...          enumerate(answers) for label, margin in zip((1, 0), pair)]
    >>> round(acc_core(items), 3), prec_core(items), round(recall(items), 3)
    (0.333, 0.5, 0.667)

Deviations: the paper's code tunes θ on the dev claims of LLM-AggreFact's WiCE, among which are the
supported claims of its own pairs; here that is ``core_threshold=tuned``, and those claims are
counted. The paper gives no intervals; here they are Wilson's, over pairs, at the θ that is used:
what the tuning adds is not in them. Where no document is called supported, Prec_CoRe is 0 and its
interval is 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness import wilson
from harness.statistics import Parts, mean_parts
from harness_factcg.metrics.thresholds import tuned

Item = Mapping[str, Any]
"""An answer: ``pair``, ``label`` (1: the document, 0: the corrupted one), ``margin`` (nats),
and where the run says so ``threshold`` (θ; None: to be tuned) and ``split`` (``dev`` rows are no
pair's, and tune θ)."""


def threshold(items: Sequence[Item]) -> float:
    """θ: what the answers say, or the best one on the dev rows; NaN where these lack a label."""
    given = next((item.get("threshold", 0.5) for item in items), 0.5)
    return tuned([one for one in items if _tunes(one)]) if given is None else float(given)


def _tunes(item: Item) -> bool:
    return bool(item.get("split") == "dev")


def answers(items: Sequence[Item]) -> list[tuple[bool, bool]]:
    """Of every complete pair, whether the document and the corrupted one are called supported."""
    return list(answers_by_pair(items).values())


def answers_by_pair(items: Sequence[Item]) -> dict[Any, tuple[bool, bool]]:
    """The same by the pair's name."""
    theta = threshold(items)
    if math.isnan(theta):
        return {}
    bar = math.log(theta / (1 - theta))
    pairs: dict[Any, dict[int, bool]] = {}
    for item in items:
        if not _tunes(item):
            pairs.setdefault(item["pair"], {})[item["label"]] = item["margin"] > bar
    return {name: (pair[1], pair[0]) for name, pair in pairs.items() if len(pair) == 2}


class Share:
    """A share of pairs as an lm-eval aggregation, with standard error; ``.ci95`` is its interval.

    Args:
        name: Dotted name, shown in saved configurations.
        count: (hits, pairs that count) from the answers to all pairs.
    """

    bounds = (0.0, 1.0)

    def __init__(
        self, name: str, count: Callable[[Sequence[tuple[bool, bool]]], tuple[int, int]]
    ) -> None:
        self.name = name
        self._count = count

    def __repr__(self) -> str:
        return self.name

    def __call__(self, items: Sequence[Item]) -> float:
        """The share; 0 of no pairs that count, NaN without any complete pair."""
        found = answers(items)
        hits, n = self._count(found)
        return hits / n if n else (0.0 if found else math.nan)

    def parts(self, items: Sequence[Item]) -> Parts:
        """Of each pair whether it is a hit, 0 or 1, which are resampled."""
        found = answers_by_pair(items)
        counted = [self._count([one]) for one in found.values()]
        values = np.array([hit if counts else math.nan for hit, counts in counted], dtype=float)
        return mean_parts(list(found), values)

    def stderr(self, items: Sequence[Item]) -> float:
        """The binomial standard error √(p (1 − p) / n); NaN where no pair counts."""
        hits, n = self._count(answers(items))
        return math.sqrt(hits * (n - hits) / n**3) if n else math.nan

    def ci95(self, items: Sequence[Item]) -> list[float]:
        """Wilson's 95 % interval; 0 to 1 where no pair counts."""
        hits, n = self._count(answers(items))
        return [round(bound, 4) for bound in (wilson(hits, n) if n else (0.0, 1.0))]


def _told_apart(found: Sequence[tuple[bool, bool]]) -> int:
    return sum(pos and not neg for pos, neg in found)


def _accepted(found: Sequence[tuple[bool, bool]]) -> int:
    return sum(pos for pos, _ in found)


_HERE = "harness_factcg.metrics.core"
acc_core = Share(f"{_HERE}.acc_core", lambda found: (_told_apart(found), len(found)))
acc_core_ci95 = acc_core.ci95
prec_core = Share(f"{_HERE}.prec_core", lambda found: (_told_apart(found), _accepted(found)))
prec_core_ci95 = prec_core.ci95
recall = Share(f"{_HERE}.recall", lambda found: (_accepted(found), len(found)))
recall_ci95 = recall.ci95
