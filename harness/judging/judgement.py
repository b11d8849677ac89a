"""What the judge makes of one response, and how a task asks for it round by round."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Judgement:
    """A response with the judge's ratings; what ``process_results`` receives.

    Args:
        text: The response.
        trace: What the model wrapper said about its making.
        ratings: By question name; None where no vote was valid.
        answers: The judge's words, one for each vote; None where it gave none that counts.
        judged: Whether the judge was to be asked; where not, there are no ratings.
    """

    text: str
    trace: dict[str, Any]
    ratings: dict[str, float | None]
    answers: dict[str, list[str | None]]
    judged: bool = field(default=True, kw_only=True)

    @property
    def unscored(self) -> bool:
        """Whether any of the ratings is missing that was asked for."""
        return self.judged and any(rating is None for rating in self.ratings.values())

    def __str__(self) -> str:
        """The judgement as JSON; what lm-eval writes to its sample logs.

        ``judged`` is in it where it is false. Half a surrogate pair in an answer becomes "?":
        lm-eval could not save the samples.
        """
        parts = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.judged:
            del parts["judged"]
        text = json.dumps(parts, ensure_ascii=False, default=str)
        return text.encode(errors="replace").decode()


Rounds = Generator[Sequence[int], Sequence[Judgement], None]
"""Yields the places of the responses to judge next, and is sent their judgements."""
