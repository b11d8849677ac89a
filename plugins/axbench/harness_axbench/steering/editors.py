"""Put a method's edits on a loaded model, row by row, for as long as a context lasts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness import HarnessError
from harness.models.blocks import block, blocks, edited
from harness_axbench.activations.loading import width_of
from harness_axbench.dictionary.directions import Directions
from harness_axbench.steering.interventions import RowEdits
from harness_axbench.steering.plan import Plan
from harness_axbench.steering.positions import Positions
from harness_axbench.steering.steering import Steering

Rows = Sequence[Steering | None]


class Editor(ABC):
    """Edits a model as a plan says.

    Attributes:
        uniform: Whether all rows of a batch must be steered alike.
    """

    uniform: ClassVar[bool] = False

    @abstractmethod
    def under(self, rows: Rows, mask: Tensor | None) -> AbstractContextManager[Any]:
        """A context in which row i of every batch is steered as ``rows[i]`` says.

        Args:
            rows: One for each row, or one for all.
            mask: Attention mask of the prompts [batch, tokens] that a generation begins with; None
                where whole texts are scored.
        """


class VectorEditor(Editor):
    """Adds multiples of directions to one block's output.

    Args:
        model: A transformers model.
        plan: A method of the kind ``vectors``.
    """

    def __init__(self, model: Any, plan: Plan) -> None:
        plan.found.check_fits(hidden_size=width_of(model), n_layers=len(blocks(model)))
        self._site = block(model, plan.found.layer)
        device = next(self._site.parameters()).device
        self._directions = Directions.load(plan.found, plan.method).to(device)
        self._positions = Positions.parse(plan.positions)

    def under(self, rows: Rows, mask: Tensor | None) -> AbstractContextManager[Any]:
        if not any(rows):
            return nullcontext()
        if mask is None and not self._positions.everywhere:
            raise HarnessError(
                "positions= tells the prompt's tokens from the answer's and is for generation; "
                "texts are scored with positions=all"
            )
        return edited(self._site, _Edit(self._directions, rows, self._positions, mask))


class _Edit:
    """Edits the batches of one context: the first is the prompt where a mask is given."""

    def __init__(
        self, directions: Directions, rows: Rows, positions: Positions, mask: Tensor | None
    ) -> None:
        self._edits = RowEdits.of(directions, rows)
        self._positions, self._mask = positions, mask

    def __call__(self, hidden: Tensor) -> Tensor:
        edits = self._spread(hidden.shape[0])
        if self._positions.everywhere:
            return edits.apply(hidden)
        mask, self._mask = self._mask, None
        if mask is not None:
            where = self._positions.of_prompt(mask)
            copies = hidden.shape[0] // where.shape[0]
            return edits.apply(hidden, where.repeat_interleave(copies, 0).to(hidden.device))
        return edits.apply(hidden) if self._positions.generated else hidden

    def _spread(self, batch: int) -> RowEdits:
        """One edit a row of the batch: beams and several answers a prompt repeat theirs."""
        own = len(self._edits.scale)
        if own in (1, batch):
            return self._edits
        copies, rest = divmod(batch, own)
        if rest:
            raise HarnessError(f"steering was set up for {own} rows, the batch has {batch}")
        index = torch.arange(own, device=self._edits.scale.device)
        return self._edits.select(index.repeat_interleave(copies))
