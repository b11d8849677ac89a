"""Answers by content: what is known is not asked again, what is new is written down.

A request's key and the seed of its draws follow from what it asks for. They travel with the prompt
through lm-eval's sorting and batching, so that an answer is kept the moment the model gives it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.asking.store import Store, key_of
from harness.models.requests import Prompt
from harness.models.responses import trace_of, traced

_TRACE = "harness_trace"


class Recorder:
    """Stands in for lm-eval's cache hook: writes each answer down as it arrives."""

    dbdict = None

    def __init__(self, store: Store | None) -> None:
        self._store = store

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:
        """Called by lm-eval's models for every answer; ``request[0]`` is the prompt."""
        prompt = None if request is None else request[0]  # a window of a text has none
        if self._store is not None and isinstance(prompt, Prompt):
            self._store.put(prompt.key, _kept(answer))


class Answers:
    """A response cache: answers by the content of what was asked.

    Args:
        path: The file of the store; None keeps nothing.
    """

    def __init__(self, path: str | None = None) -> None:
        self.store = Store(Path(path).expanduser()) if path else None

    def complete(
        self,
        requests: Sequence[Any],
        notes: Sequence[Mapping[str, Any]],
        parts: Sequence[Mapping[str, Any]],
        ask: Callable[[list[Any]], list[Any]],
        identity: Mapping[str, Any],
    ) -> list[Any]:
        """Answers to all requests, asking only for those that are not known.

        Args:
            requests: lm-eval ``Instance`` objects.
            notes: What the parts of the model say of each (see ``Prompt``).
            parts: What each request's answer depends on.
            ask: Runs the model on requests whose prompts are ``Prompt``.
            identity: What all answers of this model depend on, JSON-able.
        """
        asked = prompted(requests, notes, parts, identity)
        prompts: list[Prompt] = [one.args[0] for one in asked]
        store: Mapping[str, Any] = {} if self.store is None else self.store
        missing = [i for i, prompt in enumerate(prompts) if prompt.key not in store]
        if missing and self.store is not None:
            self.store.ready()
        made = ask([asked[i] for i in missing]) if missing else []
        fresh = dict(zip(missing, made, strict=True))
        if self.store is not None:  # where the model did not do it on the way
            for i, answer in fresh.items():
                fresh[i] = _given(self.store.put(prompts[i].key, _kept(answer)))
        return [
            fresh[i] if i in fresh else _given(store[prompt.key])
            for i, prompt in enumerate(prompts)
        ]


def prompted(
    requests: Sequence[Any],
    notes: Sequence[Mapping[str, Any]],
    parts: Sequence[Mapping[str, Any]],
    identity: Mapping[str, Any],
) -> list[Any]:
    """The requests, with a ``Prompt`` each; equal ones are told apart by their number.

    The seed follows from the request alone, the key also from the model. Arguments as for
    ``Answers.complete``.
    """
    seen: Counter[str] = Counter()
    found = []
    for request, note, part in zip(requests, notes, parts, strict=True):
        content = key_of(**part)
        own = key_of(base=content, repeat=seen[content])
        key, seed = key_of(**identity, request=own), int(own[:15], 16)
        text, *rest = request.args
        prompt = Prompt(text, key, seed, note, seen[content])
        found.append(replace(request, arguments=(prompt, *rest)))
        seen[content] += 1
    return found


def _kept(answer: Any) -> Any:
    """An answer as JSON; one with a trace keeps it."""
    trace = trace_of(answer)
    return {_TRACE: trace, "answer": answer} if trace else answer


def _given(kept: Any) -> Any:
    if isinstance(kept, Mapping) and _TRACE in kept:
        return traced(kept["answer"], **kept[_TRACE])
    return tuple(kept) if isinstance(kept, list) else kept
