"""Traces of answers in saved samples: lm-eval's file of samples says how an answer came about.

A model wrapper's answers carry a trace (``Completion``, ``Score``), which lm-eval would drop as it
writes them as text. Each line of samples gets it under ``traces``, a list without repetitions. A
trace of which the task's metrics keep a part, or a judgement the whole, is not written twice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

KEY = "traces"


def keep(tracker: Any) -> None:
    """Let lm-eval's ``EvaluationTracker`` save traces."""
    stock = tracker.save_results_samples

    @functools.wraps(stock)
    def save_results_samples(self: Any, task_name: str, samples: Any) -> None:
        for sample in samples if isinstance(samples, list) else ():
            if found := unkept(sample):
                sample[KEY] = found
        stock(self, task_name, samples)

    tracker.save_results_samples = save_results_samples


def unkept(sample: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The traces of a sample's answers that nothing else in it keeps."""
    filtered = sample.get("filtered_resps") or ()
    if any(getattr(one, "trace", None) and not isinstance(one, (str, tuple)) for one in filtered):
        return []
    kept = {
        id(value)
        for metric in sample.values()
        if isinstance(metric, Mapping)
        for value in _large(metric)
    }
    found: list[Mapping[str, Any]] = []
    for answer in _answers(sample.get("resps")):
        trace = getattr(answer, "trace", None)
        if not isinstance(trace, Mapping) or not trace or trace in found:
            continue
        if not any(id(value) in kept for value in _large(trace, deep=True)):
            found.append(trace)
    return found


def _answers(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _answers(one)
    else:
        yield value


def _large(value: Mapping[str, Any], *, deep: bool = False) -> Iterator[Any]:
    """The texts, lists and objects of an object, and of those in it."""
    for one in value.values():
        if isinstance(one, (list, dict)) or (isinstance(one, str) and len(one) > 1):
            yield one
        if deep and isinstance(one, Mapping):
            yield from _large(one, deep=True)
