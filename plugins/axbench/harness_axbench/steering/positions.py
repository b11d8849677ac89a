"""Which tokens an intervention edits: ``positions=`` among the model arguments.

    all        every token, of the prompt and of the answer (the paper's, and the default)
    prompt     the prompt's tokens
    generated  the answer's tokens
    a:b        a slice of the prompt's tokens, as in Python; with an open end (``4:``) it goes on
               into the answer

Tokens are counted from the text's first, so padding on either side changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness import HarnessError, Place

ALL = "all"
_BEYOND = 1 << 62


@dataclass(frozen=True)
class Positions:
    """Which tokens are edited.

    Attributes:
        prompt: Slice of the prompt's tokens; None for none of them.
        generated: Whether the answer's tokens are edited too.
    """

    prompt: slice | None
    generated: bool

    @classmethod
    def parse(cls, text: str) -> Positions:
        """Read ``all``, ``prompt``, ``generated`` or ``a:b``.

        Raises:
            HarnessError: It is none of them.
        """
        named = {ALL: cls(slice(None), True), "prompt": cls(slice(None), False)}
        named["generated"] = cls(None, True)
        if text in named:
            return named[text]
        found = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
        if not found:
            raise HarnessError(
                f"positions={text} is not one of all, prompt, generated, or a slice such as 4: or "
                f"0:5 or -5:"
            )
        start, end = (int(part) if part else None for part in found.groups())
        if start is not None and end is not None and start >= end and (start < 0) == (end < 0):
            raise HarnessError(f"positions={text} holds no token, however long the prompt is")
        return cls(slice(start, end), generated=end is None)

    @property
    def everywhere(self) -> bool:
        """Whether every token is edited."""
        return self.prompt == slice(None) and self.generated

    def span(self, prompt: int) -> tuple[int, int | None]:
        """First position that is edited, and the first behind it that is not, if there is one.

        Args:
            prompt: Tokens of the prompt.
        """
        if self.prompt is None:
            return prompt, None
        begin, end, _ = self.prompt.indices(prompt)
        return begin, None if self.generated else end

    def of(self, places: Sequence[Place], width: int) -> Tensor:
        """Which tokens of a forward pass are edited.

        Args:
            places: Where each row's tokens stand.
            width: Tokens of each row, padding included.

        Returns:
            [rows, width]; False before a text begins.
        """
        spans = [self.span(place.prompt) for place in places]
        first = torch.tensor([place.start for place in places]).unsqueeze(-1)
        begin = torch.tensor([begin for begin, _ in spans]).unsqueeze(-1)
        end = torch.tensor([_BEYOND if e is None else e for _, e in spans]).unsqueeze(-1)
        at = first + torch.arange(width)
        return (at >= 0) & (at >= begin) & (at < end)


def check_scored(positions: Positions) -> None:
    """Refuse to score a text that is not edited everywhere.

    Raises:
        HarnessError: It is edited in places that only generation knows.
    """
    if not positions.everywhere:
        raise HarnessError(
            "positions= tells the prompt's tokens from the answer's and is for generation; texts "
            "are scored with positions=all"
        )
