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


class Recorder:
    """Stands in for lm-eval's cache hook: writes each answer down as it arrives."""

    dbdict = None

    def __init__(self, store: Store | None) -> None:
        self._store = store

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:
        """Called by lm-eval's models for every answer; ``request[0]`` is the prompt."""
        prompt = request[0]
        if self._store is not None and isinstance(prompt, Prompt):
            self._store.put(prompt.key, answer)


class Answers:
    """Answers by content key: what is known is not asked again, what is new is written down.

    Args:
        path: The file of the store; None keeps nothing.
        identity: What all answers of this model depend on, JSON-able.
    """

    def __init__(self, path: str | None, identity: Mapping[str, Any]) -> None:
        self._identity = dict(identity)
        self.store = Store(Path(path).expanduser()) if path else None

    def keys(self, parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
        """A key and a seed for each request; equal requests are told apart by their number.

        The seed follows from the request alone, the key also from the model.
        """
        seen: Counter[str] = Counter()
        keys: list[tuple[str, int]] = []
        for part in parts:
            request = key_of(**part)
            own = key_of(base=request, repeat=seen[request])
            keys.append((key_of(**self._identity, request=own), int(own[:15], 16)))
            seen[request] += 1
        return keys

    def complete(
        self,
        requests: Sequence[Any],
        notes: Sequence[Mapping[str, Any]],
        parts: Sequence[Mapping[str, Any]],
        ask: Callable[[list[Any]], list[Any]],
    ) -> list[Any]:
        """Answers to all requests, asking only for those that are not known.

        Args:
            requests: lm-eval ``Instance`` objects.
            notes: What the methods say of each (see ``Prompt``).
            parts: What each request's answer depends on.
            ask: Runs the model on requests whose prompts are ``Prompt``.
        """
        keys = self.keys(parts)
        store: Mapping[str, Any] = {} if self.store is None else self.store
        missing = [i for i, (key, _) in enumerate(keys) if key not in store]
        asked = []
        for i in missing:
            prompt, *rest = requests[i].args
            wrapped = Prompt(prompt, *keys[i], notes[i])
            asked.append(replace(requests[i], arguments=(wrapped, *rest)))
        fresh = dict(zip(missing, ask(asked) if asked else [], strict=True))
        for i, answer in fresh.items():
            if self.store is not None:
                self.store.put(keys[i][0], answer)  # where the model did not do it on the way
        return [fresh[i] if i in fresh else store[key] for i, (key, _) in enumerate(keys)]
