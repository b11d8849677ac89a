"""What a speculative model is asked to measure on itself.

- ``specdecode_coupling``: how often target and drafter agree, by theory and by sampling.
- ``spec_bench``: how much faster the drafter makes it.
- ``specdecode_invariance``: whether drafter, γ or batch size change what is written.

A row is a prompt or a conversation. The model's wrapper measures while it answers, and what it
found is in the answer's trace (``measuring``, ``spec_bench``, ``invariance``). The sample's item of
the headline metric has it, with the row's category.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness import HarnessError, SourcedTask, Statistic, trace_of
from harness.statistics import Noting
from harness_specdecode.metrics import Z, invariance, mean_item, speed, z_item
from harness_specdecode.requests import CHAT, GROUP, INVARIANCE, SPEC_BENCH, TRACE


class _MeasuringTask(SourcedTask):
    """A task whose metrics are made of what the model's wrapper measured."""

    trace = ""
    of = "a pair of models"

    def measured(self, results: Sequence[Any]) -> dict[str, Any]:
        """What the answer's trace holds for this task.

        Raises:
            HarnessError: The model measures nothing of the kind.
        """
        found = trace_of(results[0]).get(self.trace)
        if found is None:
            raise HarnessError(
                f"{self.config.task} measures {self.of}: run it with "
                f"--model hf-speculative --model_args pretrained=TARGET,drafter=DRAFTER"
            )
        return dict(found)

    @property
    def headline(self) -> str:
        """The metric whose items hold the trace."""
        return str(self.config.metadata["headline"])

    def note(self, **facts: Any) -> None:
        """Save facts with the results' metadata."""
        self.config.metadata = {**self.config.metadata, **facts}


class CouplingTask(_MeasuringTask):
    """``specdecode_coupling``: total variation, agreement of each coupling, bounds."""

    trace = TRACE

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """One item a metric.

        Raises:
            HarnessError: The model has no drafter beside it.
        """
        measured = self.measured(results)
        records, draws = measured["positions"], measured["draws"]
        found: dict[str, Any] = {}
        for metric in self.aggregation():
            name = metric.removesuffix("_ci95")
            z = name in Z
            found[metric] = z_item(records, Z[name], draws) if z else mean_item(records, name)
        found[self.headline] |= {"category": doc["category"], **measured}
        return found


class SpecBenchTask(_MeasuringTask):
    """``spec_bench``: speed-up of all questions and of each group.

    Where there are several groups, each has a metric ``speedup_<group>``; all its figures are saved
    with the task's metadata, in the results' ``configs``, as ``by_group``.
    """

    trace = SPEC_BENCH
    of = "a drafter against plain decoding"
    _system: str | None = None

    def fewshot_context(self, *args: Any, **kwargs: Any) -> Any:
        """The first turn's prompt; later ones need the system message again."""
        self._system = kwargs.get("system_instruction")
        return super().fewshot_context(*args, **kwargs)

    def construct_requests(self, doc: Mapping[str, Any], ctx: Any, **kwargs: Any) -> Any:
        """A request that says how later turns are put: in the chat template, or as text."""
        chat = {"system": self._system} if kwargs.get("apply_chat_template") else None
        return super().construct_requests({**doc, CHAT: chat}, ctx, **kwargs)

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """One item a metric.

        Raises:
            HarnessError: The model does not decode in two ways.
        """
        measured = self.measured(results)
        item = speed.item(measured) | {GROUP: doc[GROUP]}
        found = dict.fromkeys(self.aggregation(), item)
        found[self.headline] = item | {"category": doc["category"], **measured}
        return found

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations and each group's speed-up; the headline's notes the table."""
        named: dict[str, Any] = super().aggregation()
        noting = Noting(
            named[self.headline], lambda items: self.note(by_group=speed.by_group(items))
        )
        return named | {self.headline: noting} | self._of_groups

    def higher_is_better(self) -> dict[str, bool]:
        """As the YAML says; a speed-up is better when higher."""
        named: dict[str, bool] = super().higher_is_better()
        return named | dict.fromkeys(self._of_groups, True)

    @functools.cached_property
    def _of_groups(self) -> dict[str, Statistic]:
        groups = list(dict.fromkeys(self.dataset[self.config.test_split][GROUP]))
        named = {f"speedup_of_{re.sub(r'[^0-9A-Za-z]+', '_', name)}": name for name in groups}
        if len(groups) == 1:
            return {}
        return {metric: speed.SpeedupOf(name) for metric, name in named.items()}


class InvarianceTask(_MeasuringTask):
    """``specdecode_invariance``: what stays the same whatever drafts.

    What differs, in all and in each decoding, is saved with the task's metadata, in the results'
    ``configs``, as ``differences`` and ``by_decoding``, beside the scheme and whether it
    is invariant.
    """

    trace = INVARIANCE
    of = "a model's answers under several drafters"

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """One item a metric; near-ties are left out where the scheme does not count them.

        Raises:
            HarnessError: The model does not decode in several ways.
        """
        measured = self.measured(results)
        items = invariance.items(measured)
        found: dict[str, Any] = {
            metric: items[name]
            for metric in self.aggregation()
            if (name := metric.removesuffix("_ci95")) in items
        }
        found[self.headline] = {
            **items[self.headline], "category": doc["category"], **measured
        }  # fmt: skip
        return found

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations; the headline's notes the table."""
        named: dict[str, Any] = super().aggregation()
        return named | {self.headline: Noting(named[self.headline], self._note_table)}

    def _note_table(self, items: Sequence[Mapping[str, Any]]) -> None:
        differences = invariance.differences([item["decodings"] for item in items])
        self.note(scheme=items[0]["scheme"], invariant=items[0]["invariant"], **differences)
