"""One document of a task, with what every metric and judge said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one filter made of the responses, and how it was scored.

    Attributes:
        filter: lm-eval's filter.
        text: What was scored, as text.
        values: By metric: the document's value.
        ratings: By question of a judge: its rating; None where it gave none.
        reasons: By question: the judge's words.
        traces: What the model said of the making of its answers.
        more: What else the judge noted.
    """

    filter: str
    text: str
    values: Mapping[str, Any]
    ratings: Mapping[str, float | None] = field(default_factory=dict)
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    traces: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A document, what was asked, and what was answered.

    Attributes:
        number: lm-eval's number of the document.
        hash: Of its row.
        doc: Its row.
        messages: What was asked: pairs of role and words.
        choices: What could be answered, where that was given.
        right: Which choice is right; None where that is unknown.
        target: What should be answered; several where several are right.
        responses: The model's words, unfiltered.
        scores: Of each choice, or of the text scored: its log-probability (nats).
        settings: How the answer was generated.
        answers: One for each filter.
    """

    number: int
    hash: str
    doc: Mapping[str, Any]
    messages: Sequence[tuple[str, str]]
    choices: Sequence[str]
    right: int | None
    target: Sequence[str]
    responses: Sequence[str]
    scores: Sequence[float]
    settings: Mapping[str, Any]
    answers: Sequence[Answer]

    @property
    def prompt(self) -> str:
        """What was asked, as one text."""
        if len(self.messages) == 1:
            return self.messages[0][1]
        return "\n\n".join(f"{role}: {words}" for role, words in self.messages)

    @property
    def chosen(self) -> int | None:
        """The most probable choice; None where there are none."""
        if not self.choices or len(self.scores) != len(self.choices):
            return None
        return max(range(len(self.scores)), key=self.scores.__getitem__)

    @property
    def output(self) -> str:
        """The model's answer: its words, or the choice that it finds most probable."""
        if self.chosen is not None:
            return self.choices[self.chosen]
        return self.responses[0] if self.responses else ""

    @property
    def correct(self) -> bool | None:
        """Whether the most probable choice is the right one; None where this is no choice."""
        return None if self.chosen is None or self.right is None else self.chosen == self.right
