"""What a task puts around the prompt of a row: a chat template, an instruction, examples.

A language model's prompt is the task's own text. Where FactCG's prompt of the row stands in it,
what is before and after is its frame, and goes around every prompt of the row's family: the frame
"<user>" … "<assistant>" and a document of two chunks give two prompts, each within that frame. The
document stays before the claim, so prompts about one document begin alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

from harness_factcg.checking.families import Family
from harness_factcg.checking.verdicts import Pair, prompt
from harness_factcg.models.next_word import Words


class Frame(NamedTuple):
    """Texts before and after a prompt, and how the answers are written behind it."""

    opening: str
    closing: str
    words: Words


class Row(NamedTuple):
    """A pair to be judged in a frame."""

    frame: Frame
    pair: Pair


class Text(NamedTuple):
    """A prompt to be asked as it stands."""

    prompt: str
    words: Words


@dataclass(frozen=True)
class Framed(Family):
    """A family whose prompts stand in a frame."""

    opening: str = ""
    closing: str = ""

    def frame(self, claim: str) -> tuple[str, str]:
        """What stands before and after the document in the prompt of a claim, frame included."""
        before, after = super().frame(claim)
        return self.opening + before, after + self.closing


def framed(family: Family, frame: Frame) -> Framed:
    """The family with its prompts in a frame."""
    return Framed(**asdict(family), opening=frame.opening, closing=frame.closing)


def find_row(text: str, pair: Pair, words: Words) -> Row | None:
    """The pair in the frame that a task's prompt has around it; None where it is worded otherwise.

    Chat templates may drop white space around a message; around a document it counts for nothing.

    Args:
        text: The task's prompt.
        pair: The row's document and claim.
        words: The task's answers.
    """
    opening, found, closing = text.rpartition(prompt(*pair).strip())
    if not found:
        return None
    return Row(Frame(opening if opening.strip() else "", closing, words), pair)
