"""A prompt that carries what is its own through lm-eval's sorting and batching."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Prompt(str):
    """A prompt with its request's key and seed, and a note from each part that has one.

    Args:
        text: The prompt.
        key: Of its answer in the response cache.
        seed: Of whatever is drawn for its answer.
        notes: What each part of the model says of the request, by the part's own key. A value is
            hashable, equal ones are the same treatment, and it is JSON-able or has a ``trace()``
            that is; None is no treatment.
        repeat: How often the same was asked before.
    """

    key: str
    seed: int
    notes: Mapping[str, Any]
    repeat: int

    def __new__(
        cls, text: str, key: str, seed: int, notes: Mapping[str, Any], repeat: int = 0
    ) -> Prompt:
        self = super().__new__(cls, text)
        self.key, self.seed, self.notes, self.repeat = key, seed, notes, repeat
        return self

    @property
    def treatment(self) -> str:
        """What the notes say, as text; empty where they say nothing."""
        said = {k: getattr(n, "trace", lambda n=n: n)() for k, n in self.notes.items() if n}
        return json.dumps(said, sort_keys=True) if said else ""

    def saying(self, text: str) -> Prompt:
        """Other words for the same request."""
        return Prompt(text, self.key, self.seed, self.notes, self.repeat)


@dataclass(frozen=True)
class Place:
    """Where the tokens of a forward pass stand in a row's text.

    Attributes:
        start: Position of the pass's first token, from 0; below 0 by the padding before the text.
        prompt: Tokens of the row's prompt; what stands behind is its answer.
    """

    start: int
    prompt: int


def notes_of(prompt: object) -> Mapping[str, Any]:
    """The notes of a prompt; none for a plain string or None."""
    return prompt.notes if isinstance(prompt, Prompt) else {}


def told(notes: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer's trace says of its prompt's notes: what they tell, or what they are."""
    found: dict[str, Any] = {}
    for name, note in notes.items():
        if note is not None:
            found |= note.trace() if hasattr(note, "trace") else {name: note}
    return found


def treated(request: Any) -> frozenset[tuple[str, Any]]:
    """What is done to a request: equal where it is treated alike."""
    return frozenset(notes_of(request.args[0]).items())


def in_groups(requests: Sequence[Any], ask: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Answers to requests, asked group by group of equal notes.

    Args:
        requests: lm-eval ``Instance`` objects.
        ask: Runs the model on a group.

    Returns:
        The answers, in the order of the requests.
    """
    groups: dict[Any, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(treated(request), []).append(i)
    answers: list[Any] = [None] * len(requests)
    for members in groups.values():
        for i, answer in zip(members, ask([requests[i] for i in members]), strict=True):
            answers[i] = answer
    return answers
