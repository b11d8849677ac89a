"""Which tokens an intervention edits: ``positions=`` among the model arguments.

    all        every token, of the prompt and of the answer (the paper's, and the default)
    prompt     the prompt's tokens
    generated  the answer's tokens
    a:b        a slice of the prompt's tokens, as in Python; with an open end (``4:``) it goes on
               into the answer

Tokens are counted on the attention mask, so padding on either side changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from harness import HarnessError

ALL = "all"


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
        return cls(slice(start, end), generated=end is None)

    @property
    def everywhere(self) -> bool:
        """Whether every token is edited."""
        return self.prompt == slice(None) and self.generated

    def of_prompt(self, mask: Tensor) -> Tensor:
        """Which of a prompt's tokens are edited.

        Args:
            mask: Attention mask. [batch, tokens]

        Returns:
            [batch, tokens], False where padded.
        """
        real = mask.bool()
        if self.prompt is None:
            return torch.zeros_like(real)
        place = real.cumsum(-1) - 1
        count = real.sum(-1, keepdim=True)

        def bound(value: int | None, default: Tensor) -> Tensor:
            if value is None:
                return default
            return torch.full_like(count, value) + (count if value < 0 else 0)

        start = bound(self.prompt.start, torch.zeros_like(count))
        end = bound(self.prompt.stop, count)
        return real & (place >= start) & (place < end)
