"""Put a method's edits on a loaded model, row by row, for as long as a context lasts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from harness import HarnessError, Place, block, edited
from harness.models.blocks import blocks
from harness_axbench.activations.loading import width_of
from harness_axbench.dictionary.directions import Directions
from harness_axbench.steering.interventions import RowEdits
from harness_axbench.steering.plan import Plan
from harness_axbench.steering.positions import Positions
from harness_axbench.steering.steering import Steering

Rows = Sequence[Steering | None]
Places = Sequence[Place] | None


class Editor(ABC):
    """Edits a model as a plan says.

    Attributes:
        uniform: Whether all rows of a batch must be steered alike.
    """

    uniform: ClassVar[bool] = False

    @abstractmethod
    def under(self, rows: Rows, places: Places) -> AbstractContextManager[Any]:
        """A context in which row i of a forward pass is steered as ``rows[i]`` says.

        Args:
            rows: One for each row, or one for all.
            places: Where each row's tokens stand; None where whole texts are scored.
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
        self._last: tuple[tuple[Steering | None, ...], RowEdits] | None = None

    def under(self, rows: Rows, places: Places) -> AbstractContextManager[Any]:
        if not any(rows):
            return nullcontext()
        if places is None and not self._positions.everywhere:
            raise HarnessError(
                "positions= tells the prompt's tokens from the answer's and is for generation; "
                "texts are scored with positions=all"
            )
        edits = self._edits(tuple(rows))
        if places is None or self._positions.everywhere:
            return edited(self._site, edits.apply)
        return edited(self._site, partial(self._at, edits, places))

    def _edits(self, rows: tuple[Steering | None, ...]) -> RowEdits:
        """Those of a batch; passes of one batch follow one another."""
        if self._last is None or self._last[0] != rows:
            self._last = rows, RowEdits.of(self._directions, rows)
        return self._last[1]

    def _at(self, edits: RowEdits, places: Sequence[Place], hidden: Tensor) -> Tensor:
        where = self._positions.of(places, hidden.shape[1])
        return edits.apply(hidden, where.to(hidden.device)) if bool(where.any()) else hidden
