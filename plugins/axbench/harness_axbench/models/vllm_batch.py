"""What is done to the tokens of one vLLM step, each request by its own numbers.

A step of vLLM's engine runs a flat list of tokens: some requests bring a chunk of their prompt,
others the token sampled last. Two tables turn it into tensors that a hook can use as they are:

    vectors        [1 + requests, hidden]   row r + 1 is what request r adds; row 0 is nothing
    row_of_token   [tokens]                 the row of each token; 0 where it is left alone

so an addition is one gather and one sum, whatever the number of concepts and factors. The tables
live in buffers of fixed size and address.

Worked example: request A is steered on positions 2, 3, … and brings positions 0 to 3, request B is
not steered and brings position 9: row_of_token = (0, 0, 1, 1, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness_axbench.dictionary.directions import Directions
from harness_axbench.steering.interventions import RowEdits

KEY = "steering"  # of SamplingParams.extra_args
_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Edit:
    """How one request is edited; this is all that travels with it.

    Attributes:
        place: Row of its concept among the directions.
        scale: s of the intervention.
        intervention: As in ``interventions``.
        begin: First position that is edited, counted from the prompt's first token.
        end: First position behind it that is not; None for no end.
    """

    place: int
    scale: float
    intervention: str
    begin: int
    end: int | None

    def message(self) -> tuple[str, dict[str, Any]]:
        """Key and value in ``SamplingParams.extra_args``."""
        return KEY, asdict(self)

    @classmethod
    def of(cls, extra_args: Mapping[str, Any] | None) -> Edit | None:
        """From a request's ``SamplingParams.extra_args``; None where it is not steered."""
        found = (extra_args or {}).get(KEY)
        return None if found is None else cls(**found)


class BatchEdits:
    """Edits the tokens of a step.

    Args:
        directions: On the model's device, in fp32.
        dtype: The model's.
        max_requests: Most requests in a step.
        max_tokens: Most tokens in a step.
    """

    def __init__(
        self, directions: Directions, *, dtype: torch.dtype, max_requests: int, max_tokens: int
    ) -> None:
        device, width = directions.weight.device, directions.weight.shape[1]
        self._directions = directions
        self._vectors = torch.zeros(1 + max_requests, width, device=device, dtype=dtype)
        self._row_of_token = torch.zeros(max_tokens, device=device, dtype=torch.long)
        self._filled = 0
        self._requests: list[str] = []
        self._spans = np.zeros((2, 0), dtype=np.int64)
        self._rows: RowEdits | None = None

    def begin_step(
        self,
        requests: Sequence[str],
        starts: np.ndarray[Any, Any],
        counts: np.ndarray[Any, Any],
        edit_of: Callable[[str], Edit | None],
    ) -> bool:
        """Note which tokens come next.

        Args:
            requests: Ids, in the order of the step's tokens.
            starts: Position of each request's first token of this step. [requests]
            counts: Tokens of each request. [requests]
            edit_of: How a request is edited.

        Returns:
            Whether any token is edited.
        """
        if requests != self._requests:
            self._requests = list(requests)
            self._note_requests([edit_of(request) for request in requests])
        return self._rows is not None and self._note_tokens(starts, counts)

    def _note_requests(self, edits: Sequence[Edit | None]) -> None:
        if not any(edits):
            self._rows = None
            return
        spans = [(0, 0) if e is None else (e.begin, _end(e)) for e in edits]
        self._spans = np.array(spans, dtype=np.int64).T
        rows: Any = [None, *edits]  # of a row, place, scale and intervention are read
        self._rows = RowEdits.of(self._directions, rows)
        added = self._rows.scale.unsqueeze(1) * self._rows.weight
        self._vectors[: len(added)].copy_(added)

    def _note_tokens(self, starts: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> bool:
        row = np.repeat(np.arange(len(counts)), counts)
        before = np.cumsum(counts) - counts
        position = np.arange(len(row)) + (starts - before)[row]
        begin, end = self._spans[:, row]
        steered = (begin <= position) & (position < end)
        tokens = len(row)
        self._row_of_token[:tokens].copy_(torch.from_numpy(np.where(steered, row + 1, 0)))
        self._row_of_token[tokens : self._filled] = 0
        self._filled = tokens
        return bool(steered.any())

    def apply(self, hidden: Tensor, residual: Tensor | None) -> Tensor:
        """The edited ``hidden``; the block's output is ``hidden + residual``.

        Args:
            hidden: [tokens or more, hidden]; tokens behind the step's own are padding.
            residual: Of the same shape, or None.
        """
        assert self._rows is not None
        row_of_token = self._row_of_token[: len(hidden)]
        if self._rows.plain:
            return hidden + self._vectors[row_of_token]
        rows = self._rows.select(row_of_token)
        output = hidden.float() if residual is None else hidden.float() + residual.float()
        edit = rows.coefficients(output).unsqueeze(-1) * rows.weight
        return hidden + edit.to(hidden.dtype)


def _end(edit: Edit) -> int:
    return _FOREVER if edit.end is None else edit.end
