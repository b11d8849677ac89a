"""``taid_fidelity``, ``taid_fidelity_on_policy`` and ``taid_generation`` in lm-eval's terms.

What the models have in common is found by ``hf-distilled`` and comes in the answer's trace; here it
is handed to the metrics. The sample's headline metric keeps the figures of each token, or of each
answer. A stock model answers ``taid_generation`` too; what needs a teacher is then left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import HarnessError, SourcedTask, trace_of
from harness_taid.metrics import Measured, answer_figures
from harness_taid.requests import ALONG, FIDELITY, PIECES, REFERENCE, TEACHER_ANSWER

_PAIRED = ("forward_kl", "reverse_kl")


class FidelityTask(SourcedTask):
    """``taid_fidelity`` and ``taid_fidelity_on_policy``: distances at each token."""

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """One item a metric.

        Raises:
            HarnessError: The model has no teacher beside it.
        """
        trace = trace_of(results[0]).get(FIDELITY)
        if trace is None:
            raise HarnessError(
                f"{self.config.task} compares a student with its teacher: run it with "
                f"--model hf-distilled --model_args pretrained=STUDENT[,teacher=TEACHER]"
            )
        along = doc[ALONG][0]
        figures = dict(trace[along])
        if along != REFERENCE and REFERENCE in trace:
            figures |= {f"reference_{name}": trace[REFERENCE][name] for name in _PAIRED}
        found: dict[str, Any] = dict.fromkeys(self.aggregation(), Measured(figures))
        told = {"along": along, "cut": trace["cut"]}
        if words := trace_of(results[0]).get(PIECES, {}).get(along):
            told["tokens"] = words
        found[self.config.metadata["headline"]] = figures | told
        return found


class GenerationTask(SourcedTask):
    """``taid_generation``: answers against the reference, and against the teacher's."""

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        answer, theirs = str(results[0]), trace_of(results[0]).get(TEACHER_ANSWER)
        found: dict[str, Any] = dict.fromkeys(
            self.aggregation(), answer_figures(answer, doc["response"])
        )
        teacher = None if theirs is None else answer_figures(answer, theirs)
        for name in list(found):
            if name.startswith("distinct_"):
                found[name] = answer
            elif "_teacher" in name and teacher is None:
                del found[name]
            elif "_teacher" in name:
                found[name] = teacher
        if theirs is not None:
            found[self.config.metadata["headline"]] |= {TEACHER_ANSWER: theirs}
        return found
