"""A prompt that carries what is its own through lm-eval's sorting and batching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Prompt(str):
    """A prompt with its request's key and seed, and a note from each method that has one.

    Args:
        text: The prompt.
        key: Of its answer in the response cache.
        seed: Of whatever is drawn for its answer.
        notes: What a method says of the request, by the method's own key. Values are hashable;
            equal ones are the same treatment.
    """

    key: str
    seed: int
    notes: Mapping[str, Any]

    def __new__(cls, text: str, key: str, seed: int, notes: Mapping[str, Any]) -> Prompt:
        self = super().__new__(cls, text)
        self.key, self.seed, self.notes = key, seed, notes
        return self


def in_groups(
    requests: Sequence[Any], note: str, ask: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Answers to requests, asked group by group of an equal note.

    Args:
        requests: lm-eval ``Instance`` objects whose first argument is a ``Prompt``.
        note: The key of the note.
        ask: Runs the model on a group.

    Returns:
        The answers, in the order of the requests.
    """
    groups: dict[Any, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.args[0].notes.get(note), []).append(i)
    answers: list[Any] = [None] * len(requests)
    for members in groups.values():
        for i, answer in zip(members, ask([requests[i] for i in members]), strict=True):
            answers[i] = answer
    return answers
