"""What a model wrapper returns: a plain answer that remembers how it came about.

lm-eval passes a model's answers untouched through caches and filters to ``process_results``.
A wrapper therefore returns a ``str`` (generation) or a ``(float, bool)`` (log-likelihood) that
also carries a ``trace``: accepted tokens, steering factor, deciding chunk, seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_WINDOW = 12


class Completion(str):
    """A generated text with the trace of its making.

    Args:
        text: The generated text.
        trace: JSON-able facts about the generation.
    """

    trace: Mapping[str, Any]

    def __new__(cls, text: str, trace: Mapping[str, Any] | None = None) -> Completion:
        self = super().__new__(cls, text)
        self.trace = dict(trace or {})
        return self


class Score(tuple[float, bool]):
    """A log-likelihood answer ``(log_probability, is_greedy)`` with its trace.

    A wrapper that is no language model answers Yes/No tasks through this type: the difference
    between its answers for " Yes" and " No" is the score in logit units (see ``margin``).

    Args:
        log_probability: Log-probability in nats, or an unnormalised score for " Yes" beside 0
            for " No".
        is_greedy: Whether the continuation is what greedy decoding would give.
        trace: JSON-able facts about the score.
    """

    trace: Mapping[str, Any]

    def __new__(
        cls,
        log_probability: float,
        is_greedy: bool = False,
        trace: Mapping[str, Any] | None = None,
    ) -> Score:
        self = super().__new__(cls, (log_probability, is_greedy))
        self.trace = dict(trace or {})
        return self

    def __getnewargs__(self) -> tuple[float, bool]:
        return self[0], self[1]


def trace_of(response: object) -> dict[str, Any]:
    """The trace of a response; empty for a stock model's plain answer."""
    return dict(getattr(response, "trace", {}))


def margin(no: tuple[float, bool], yes: tuple[float, bool]) -> float:
    """Log-odds of Yes against No, in nats: ``log P(Yes) − log P(No)``.

    Monotone in P(Yes), and free of the ties that probabilities near 0 and 1 round into.
    """
    return float(yes[0]) - float(no[0])


def traced(answer: Any, **more: Any) -> Any:
    """An answer whose trace says more; what it said before stays, unless it is said anew.

    Args:
        answer: Words, or a log-probability (nats) and whether it is greedy.
        **more: JSON-able entries of the trace.

    Returns:
        A ``Completion`` or a ``Score``; any other answer as it is.
    """
    trace = {**trace_of(answer), **more}
    if isinstance(answer, str):
        return Completion(answer, trace)
    if isinstance(answer, (tuple, list)):
        return Score(float(answer[0]), bool(answer[1]), trace)
    return answer


def pieces(ids: Sequence[int], decode: Callable[[list[int]], str]) -> list[str]:
    """The text that each token adds; put together they are the text of all.

    A token alone is often decoded without the space before it, so each is read behind some before
    it. One that ends within a character adds nothing, the one that ends the character adds it.

    Args:
        ids: Token ids.
        decode: Token ids → text.
    """
    found: list[str] = []
    start, shown = 0, ""
    for end in range(1, len(ids) + 1):
        text = decode(list(ids[start:end]))
        if text.endswith("\ufffd") and end < len(ids):
            found.append("")
            continue
        found.append(text[len(shown) :])
        shown = text
        if end - start >= _WINDOW:
            start = end - 1
            shown = decode(list(ids[start:end]))
    return found
