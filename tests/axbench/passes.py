"""A model's passes steered row by row, as wrappers steer them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

from harness_axbench.requests import STEERING

from harness import HFWrapper, Prompt
from harness.models.requests import notes_of


def steered_passes(
    model: Any, editor: Any, rows: Sequence[Any], lengths: Sequence[int]
) -> AbstractContextManager[None]:
    """Every pass of a model under an editor; a batch may have copies of each row."""

    def passes(prompts: Sequence[Any], places: Any) -> AbstractContextManager[Any]:
        return editor.under([notes_of(prompt).get(STEERING) for prompt in prompts], places)

    lm = SimpleNamespace(model=model, passes=passes)
    return HFWrapper.every_pass(lm, [Prompt("", "", 0, {STEERING: r}) for r in rows], lengths)
