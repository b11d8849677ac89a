"""A model's passes steered row by row, as wrappers steer them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from harness_axbench.requests import STEERING

from harness import HFWrapper, Prompt
from harness.models.requests import notes_of


def steered_passes(
    model: Any, editor: Any, rows: Sequence[Any], lengths: Sequence[int]
) -> AbstractContextManager[None]:
    """Every pass of a model under an editor; a batch may have copies of each row."""

    class Steered(HFWrapper):
        def passes(self, rows: Any, places: Any) -> AbstractContextManager[Any]:
            return editor.under([notes_of(row).get(STEERING) for row in rows], places)

    lm = Steered.__new__(Steered)
    lm.model = model
    return lm.every_pass([Prompt("", "", 0, {STEERING: r}) for r in rows], lengths)
