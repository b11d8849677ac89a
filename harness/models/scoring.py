"""Scored texts of one batch, each treated by its own notes.

lm-eval's ``hf`` sorts the texts that it scores, lets those that differ in their last token alone
share a row, and hands the model a batch of bare tokens. Whose row it is is known again by what the
model reads of a request, with the zeros taken off that pad a batch:

    read = last (longest + 1) tokens of context and continuation, without the very last

Requests that read the same and are treated otherwise cannot share a batch; they take turns.

Worked example: A reads (5, 6), B reads (7,), C reads (5, 6) and is treated otherwise than A. A and
B are the first turn, C is the second. In the batch ((5, 6), (7, 0)) the rows are A's and B's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError
from harness.models.requests import Prompt

Tokens = tuple[int, ...]

_PADDING = 0  # lm-eval's, whatever the tokenizer's is


@dataclass
class Turn:
    """Requests that can share batches.

    Attributes:
        members: Their places among all.
        prompts: By what the model reads of them.
    """

    members: list[int] = field(default_factory=list)
    prompts: dict[Tokens, Prompt] = field(default_factory=dict)

    def rows(self, batch: Sequence[Sequence[int]]) -> list[Prompt]:
        """Whose the rows of a batch are, padded or not.

        Raises:
            HarnessError: A row is nobody's.
        """
        try:
            return [self.prompts[_bare(row)] for row in batch]
        except KeyError as cause:
            raise HarnessError(
                "a row of the batch is no request's: this lm-eval puts texts into batches in "
                "another way; see: harness doctor"
            ) from cause


def turns(requests: Sequence[tuple[Any, list[int], list[int]]], longest: int) -> list[Turn]:
    """Requests in as few turns as they need: one, unless some read the same tokens.

    Args:
        requests: As lm-eval encodes them: (prompt and continuation, context's tokens,
            continuation's tokens), the prompt a ``Prompt``.
        longest: The most tokens that the model reads.
    """
    treatments: dict[Tokens, dict[Any, int]] = {}
    found: list[Turn] = []
    for place, ((prompt, _), context, continuation) in enumerate(requests):
        tokens = _bare([*context, *continuation][-(longest + 1) :][:-1])
        known = treatments.setdefault(tokens, {})
        number = known.setdefault(frozenset(prompt.notes.items()), len(known))
        if number == len(found):
            found.append(Turn())
        found[number].members.append(place)
        found[number].prompts[tokens] = prompt
    return found


def _bare(tokens: Sequence[int]) -> Tokens:
    """Tokens without the zeros at their end, which may be padding."""
    end = len(tokens)
    while end and tokens[end - 1] == _PADDING:
        end -= 1
    return tuple(tokens[:end])
