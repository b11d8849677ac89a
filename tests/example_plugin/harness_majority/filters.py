"""A filter of answers: their first word, without what stands around it."""

from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.filter import Filter

from harness import trace_of, traced


class FirstWord(Filter):
    """Keeps each answer's first word, and its trace."""

    def apply(
        self, resps: Iterable[Sequence[str]], docs: Sequence[dict[str, Any]]
    ) -> list[list[str]]:
        """Answers of each request, in the order they came in."""
        return [[_first(answer) for answer in answers] for answers in resps]


def _first(answer: str) -> str:
    word = next(iter(answer.split()), "").strip(".,!?").lower()
    return traced(word, **trace_of(answer))
