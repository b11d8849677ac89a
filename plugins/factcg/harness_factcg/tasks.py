"""Fact checks in lm-eval's terms: the prompt of a row, its answer, and the items of the metrics.

- ``llm_aggrefact``: P(supported) against ½, on each of the eleven data sets.
- ``llm_aggrefact_tuned``: against a threshold tuned on the data set's dev split.
- ``factcg_core``: pairs of a document and the same without a relation that the claim needs.
- ``fact_check``: the user's own rows.

A classifier's wrapper answers with its own score and a trace: ``truncated`` and ``seconds`` in it
give ``truncated_share`` and ``pairs_per_second``. A stock language model's answers have no trace,
and these metrics are left out. The item of the headline metric, in the samples, keeps the trace.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness import HarnessError, SourcedTask, margin, trace_of
from harness.statistics import Noting
from harness_factcg import metrics
from harness_factcg.checking.verdicts import prompt
from harness_factcg.metrics import core
from harness_factcg.options import TUNED, run_options

Answer = tuple[float, bool]
OF_TRACE = ("truncated_share", "pairs_per_second")


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The question put to a generative model: the whole document, then the claim."""
    return prompt(doc["doc"], doc["claim"])


def judged(doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
    """What every metric knows of a claim: its label, the log-odds of the answer, the document.

    Args:
        doc: A row with doc, claim and label.
        results: The answers for the choices No and Yes, in this order.

    Raises:
        HarnessError: The model gave no number.
    """
    no, yes = results
    item = {
        "label": doc["label"],
        "margin": margin(no, yes),
        "document": metrics.document_id(doc["doc"]),
    }
    if math.isnan(item["margin"]):
        raise HarnessError(
            f"no score for the claim {doc['claim'][:80]!r}: log P(No) = {no[0]}, log P(Yes) = "
            f"{yes[0]}; the model overflows in its number format, try dtype=float32"
        )
    return item


class FactCheckTask(SourcedTask):
    """Claims against documents, each judged by itself.

    The reliability table is no single number: it is saved with the task's metadata, in the results'
    ``configs``, and not among the metrics that lm-eval prints.
    """

    def item(self, doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
        """What the metrics know of one row."""
        return judged(doc, results)

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
        item, trace = self.item(doc, results), trace_of(results[1])
        found: dict[str, Any] = dict.fromkeys(self.aggregation(), item)
        found[self.config.metadata["headline"]] = item | trace
        for name in OF_TRACE:
            found.pop(name, None)
        if "truncated" in trace:
            found["truncated_share"] = item | {"truncated": trace["truncated"]}
        if trace.get("seconds", 0) > 0:  # an answer that was kept took none
            found["pairs_per_second"] = trace["seconds"]
        return found

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations; that of the ECE also notes the reliability table."""
        named: dict[str, Any] = super().aggregation()
        if "ece" not in named:
            return named
        return named | {"ece": Noting(named["ece"], self._note_reliability)}

    def _note_reliability(self, items: Sequence[metrics.Item]) -> None:
        table = metrics.reliability(items)
        self.config.metadata = {**self.config.metadata, "reliability": table}


class TunedTask(FactCheckTask):
    """``llm_aggrefact_tuned_<dataset>``: dev rows set the threshold, test rows are measured."""

    def item(self, doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
        return judged(doc, results) | {"split": doc["split"]}


class CoreTask(FactCheckTask):
    """``factcg_core``: both rows of a pair are put together in the metrics.

    The threshold that was used is saved with the task's metadata.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        given = run_options(config.get("metadata") or {}).core_threshold
        self._threshold = None if given == TUNED else float(given)
        super().__init__(config)

    def item(self, doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
        own = {"pair": doc["pair_id"], "split": doc.get("split", "test")}
        return judged(doc, results) | own | {"threshold": self._threshold}

    def aggregation(self) -> dict[str, Any]:
        named = super().aggregation()
        return named | {"acc_core": Noting(named["acc_core"], self._note_threshold)}

    def _note_threshold(self, items: Sequence[metrics.Item]) -> None:
        used = round(core.threshold(items), 4)
        self.config.metadata = {**self.config.metadata, "threshold": used}


class OwnTask(FactCheckTask):
    """``fact_check``: all rows together, and the mean over data sets where rows name several."""

    def item(self, doc: Mapping[str, Any], results: Sequence[Answer]) -> dict[str, Any]:
        return judged(doc, results) | {"dataset": doc["dataset"]}

    def aggregation(self) -> dict[str, Any]:
        return self._known(super().aggregation())

    def higher_is_better(self) -> dict[str, bool]:
        return self._known(super().higher_is_better())

    @functools.cached_property
    def _several(self) -> bool:
        return len(set(self.dataset[self.config.test_split]["dataset"])) > 1

    def _known(self, named: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in named.items() if self._several or not k.startswith("mean_")}
