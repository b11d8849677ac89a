"""``specdecode_coupling``: how often a target and a drafter agree, by theory and by sampling.

A row is a prompt. A model wrapper that holds both models writes an answer with the target and
measures both at each of its tokens; what it found is in the answer's trace. The sample's
``agreement_gumbel`` has the figures of each position, from which curves are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.responses import trace_of
from harness.tasks import SourcedTask
from harness_specdecode.metrics import Z, mean_item, z_item

TRACE = "coupling"


class CouplingTask(SourcedTask):
    """``specdecode_coupling``: total variation, agreement of each coupling, bounds."""

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """One item a metric.

        Raises:
            HarnessError: The model has no drafter beside it.
        """
        measured = trace_of(results[0]).get(TRACE)
        if measured is None:
            raise HarnessError(
                f"{self.config.task} measures a pair of models: run it with "
                f"--model hf-speculative --model_args pretrained=TARGET,drafter=DRAFTER"
            )
        records, draws = measured["positions"], measured["draws"]
        headline = self.config.metadata["headline"]
        found: dict[str, Any] = {}
        for metric in self.aggregation():
            name = metric.removesuffix("_ci95")
            z = name in Z
            found[metric] = z_item(records, Z[name], draws) if z else mean_item(records, name)
        found[headline] |= {"category": doc["category"], **measured}
        return found
