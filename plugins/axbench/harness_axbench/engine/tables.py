"""What is done to the tokens of a vLLM step, each request by its own numbers.

A step of vLLM's engine runs a flat list of tokens: some requests bring a chunk of their prompt,
others the token sampled last. Tables say what happens to each:

    row_of_token   [tokens]                      the row of each token's request; 0: left alone
    facts          [4, 1 + requests, edits]      of each edit: its concept's place (−1: none), its
                                                 intervention, and the positions it begins and ends
    scales         [1 + requests, edits]         and its s

so that any number of concepts and factors shares a step, and nothing fills up. Their size and their
memory stay the same while the engine lives, and with them those of the directions: what is compiled
or captured reads them anew in each step. They are written only where a step differs from the last.

Worked example: request A is edited on positions 2, 3, … and brings positions 0 to 3, request B is
not edited and brings position 9: row_of_token = (1, 1, 1, 1, 0), and of A's four tokens the last
two lie between begin and end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.seams import Counts
from harness_axbench.dictionary.directions import Directions
from harness_axbench.engine.edits import MOST, Edit, edits_in
from harness_axbench.steering.interventions import RowEdits
from harness_axbench.steering.steering import ADD, KINDS

_FOREVER = np.iinfo(np.int32).max
PLACE, KIND, BEGIN, END = range(4)  # of ``facts``


class Tables:
    """The tables of one engine's worker, and the bookkeeping of its requests.

    Args:
        concepts: Number of directions.
        activation: Of their scores, as in ``Directions``.
        positions: Where each token of a step stands; the runner's own memory. [tokens]
        width: Of the hidden states.
        dtype: The model's.
        max_requests: Most requests in a step.

    Attributes:
        directions: In fp32; zero until they are filled.
        idle: Whether the step leaves every token alone.
    """

    def __init__(
        self,
        concepts: int,
        activation: str,
        *,
        positions: Tensor,
        width: int,
        dtype: torch.dtype,
        max_requests: int,
    ) -> None:
        device = positions.device
        self.positions = positions
        self.directions = Directions(
            weight=torch.zeros(concepts, width, device=device),
            encoder=torch.zeros(concepts, width, device=device),
            bias=torch.zeros(concepts, device=device),
            threshold=torch.zeros(concepts, device=device),
            activation=activation,
        )
        size = (1 + max_requests, MOST)
        self.row_of_token = torch.zeros(len(positions), device=device, dtype=torch.int32)
        self.facts = torch.zeros(4, *size, device=device, dtype=torch.int32)
        self.facts[PLACE] = -1
        self.scales = torch.zeros(size, device=device)
        self.idle = True
        self._dtype = dtype
        self._edits: dict[str, tuple[Edit, ...]] = {}
        self._requests: list[str] | None = []
        self._rows = np.zeros(0, dtype=np.int32)
        self._row_of_token = np.zeros(0, dtype=np.int32)
        self._columns: list[_Column] = []

    def fill(self, directions: Directions) -> None:
        """Take over directions, of the shapes that were announced."""
        for name in ("weight", "encoder", "bias", "threshold"):
            getattr(self.directions, name).copy_(getattr(directions, name))

    # What an engine's requests and steps tell

    def comes(self, request: str, sampling: Any) -> None:
        self.goes(request)
        if edits := edits_in(sampling.extra_args if sampling is not None else None):
            self._edits[request] = edits

    def goes(self, request: str) -> None:
        self._edits.pop(request, None)
        self._requests = None  # the same id may come again

    def steps(self, requests: Sequence[str], counts: Counts) -> None:
        if requests != self._requests:
            self._requests = list(requests)
            edits = [self._edits.get(request, ()) for request in requests]
            self._rows = np.array(
                [i if found else 0 for i, found in enumerate(edits, start=1)], dtype=np.int32
            )
            self._note_requests(edits)
        rows = np.repeat(self._rows, counts)
        if not np.array_equal(rows, self._row_of_token):
            _write(self.row_of_token, _padded(rows, len(self._row_of_token)))
            self._row_of_token = rows

    def _note_requests(self, edits: Sequence[tuple[Edit, ...]]) -> None:
        self.idle = not any(edits)
        if self.idle:
            return
        facts = np.zeros((4, 1 + len(edits), MOST), dtype=np.int32)
        facts[PLACE] = -1
        scales = np.zeros((1 + len(edits), MOST), dtype=np.float32)
        for row, own in enumerate(edits, start=1):
            for column, edit in enumerate(own):
                end = _FOREVER if edit.end is None else edit.end
                kind = KINDS.index(edit.intervention)
                facts[:, row, column] = edit.place, kind, edit.begin, end
                scales[row, column] = edit.scale
        _write(self.facts[:, : 1 + len(edits)], facts)
        _write(self.scales[: 1 + len(edits)], scales)
        if self.scales.device.type == "cpu":
            self._columns = self._gather(edits)

    # How tokens are edited; on an accelerator it is ``kernel``

    def _gather(self, edits: Sequence[tuple[Edit, ...]]) -> list[_Column]:
        """What the edits of a column need, gathered once for as long as the requests stay."""
        found = []
        for column in range(max(map(len, edits))):
            own: Any = [None, *(one[column] if column < len(one) else None for one in edits)]
            found.append(_Column(RowEdits.of(self.directions, own), self._dtype))
        return found

    def apply(self, hidden: Tensor, residual: Tensor | None) -> None:
        """Edit ``hidden`` in place; the block's output is ``hidden + residual``.

        Args:
            hidden: [tokens or more, hidden]; tokens behind the step's own are padding.
            residual: Of the same shape, or None.
        """
        if self.idle:
            return
        tokens = min(len(self._row_of_token), len(hidden))
        rows, positions = self.row_of_token[:tokens].long(), self.positions[:tokens]
        own = hidden[:tokens]
        rest = None if residual is None else residual[:tokens]
        for number, column in enumerate(self._columns):
            begin, end = self.facts[BEGIN, :, number][rows], self.facts[END, :, number][rows]
            inside = (begin <= positions) & (positions < end)
            own += column.change(own, rest, torch.where(inside, rows, 0))


class _Column:
    """The first, the second, … edit of each request."""

    def __init__(self, rows: RowEdits, dtype: torch.dtype) -> None:
        self._rows = rows
        self._added = (rows.scale.unsqueeze(1) * rows.weight).to(dtype) if rows.plain else None

    def change(self, hidden: Tensor, residual: Tensor | None, rows: Tensor) -> Tensor:
        """What is added to each token, whose row is given; row 0 adds nothing."""
        if self._added is not None:
            return self._added[rows]
        chosen = self._rows.select(rows)
        output = hidden.float() if residual is None else hidden.float() + residual.float()
        return (chosen.coefficients(output).unsqueeze(-1) * chosen.weight).to(hidden.dtype)


def _padded(rows: Counts, before: int) -> Counts:
    """The rows, and zeros where the last step had more of them."""
    return np.pad(rows, (0, max(before - len(rows), 0)))


def _write(table: Tensor, values: Counts) -> None:
    """Write the first of a table's values, without waiting for the device."""
    made = torch.from_numpy(values)
    if table.device.type != "cpu":
        made = made.pin_memory()
    target = table if table.dim() > 1 else table[: len(made)]
    target.copy_(made, non_blocking=True)


assert KINDS[0] == ADD  # of a row that is left alone, whose scale is 0
