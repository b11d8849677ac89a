"""Low-rank edits of several blocks' outputs at the ends of prompts, row by row (LoReFT).

    Φ(h) = h + Rᵀ(Wh + b − Rh)   at the first and last tokens of a prompt

See ``methods.loreft`` for where R, W and b come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness import ArtefactError, HarnessError, Place, block, edited
from harness.models.blocks import blocks
from harness_axbench.activations.loading import width_of
from harness_axbench.steering.editors import Editor, Places
from harness_axbench.steering.editors import Rows as Steered
from harness_axbench.steering.plan import Plan

ENDS = 5
"""Tokens edited at either end of a prompt."""


@dataclass(frozen=True)
class Edits:
    """Edits of some layers' outputs, for each concept or for each row of a batch.

    Attributes:
        rotation: R. [rows, layers, rank, hidden]
        source: W. [rows, layers, rank, hidden]
        offset: b. [rows, layers, rank]
    """

    rotation: Tensor
    source: Tensor
    offset: Tensor

    def select(self, index: Tensor) -> Edits:
        """The edits of other rows: ``index`` [n] says which of these each is."""
        return Edits(self.rotation[index], self.source[index], self.offset[index])

    def apply(self, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        """The edited outputs of a layer, in the dtype of what comes in.

        Args:
            layer: Place of the layer among these.
            hidden: The layer's outputs. [rows, tokens, hidden]
            where: Which tokens are edited. [rows, tokens]
        """
        rotation, source = self.rotation[:, layer], self.source[:, layer]
        wide = hidden.float()
        low = wide @ (source - rotation).mT + self.offset[:, layer].unsqueeze(1)
        changed: Tensor = wide + (low @ rotation) * where.unsqueeze(-1)
        return changed.to(hidden.dtype)


def ends(prompt: Tensor, prefix: int) -> Tensor:
    """The tokens that are edited: the first of a prompt from the prefix on, and its last.

    Args:
        prompt: Which tokens are the prompt's, wherever the padding is. [rows, tokens]
        prefix: Leading tokens that are left alone.

    Returns:
        [rows, tokens]
    """
    place = prompt.cumsum(1) - 1
    count = prompt.sum(1, keepdim=True)
    edge = (place < prefix + ENDS) | (place >= count - ENDS)
    return prompt & (place >= prefix) & edge


def at_ends(places: Sequence[Place], width: int, prefix: int) -> Tensor:
    """``ends`` of a forward pass's tokens, of which some may be an answer's.

    Returns:
        [rows, width]
    """
    at = torch.tensor([place.start for place in places]).unsqueeze(1) + torch.arange(width)
    count = torch.tensor([place.prompt for place in places]).unsqueeze(1)
    edge = (at < prefix + ENDS) | (at >= count - ENDS)
    return (at >= prefix) & (at < count) & edge


@contextmanager
def prompts_edited(
    model: nn.Module, layers: Sequence[int], edits: Edits, where: Tensor, first: int = 0
) -> Iterator[None]:
    """Edit the first batch that each layer sees: a prompt; what follows are tokens of an answer.

    Args:
        model: A transformers model.
        layers: The layers.
        edits: One a row.
        where: Which tokens of the batch are edited. [rows, tokens]
        first: Place of the first of these layers among those of the edits.
    """
    seen: set[int] = set()

    def editing(place: int, hidden: Tensor) -> Tensor:
        if place in seen:
            return hidden
        seen.add(place)
        copies, rest = divmod(len(hidden), len(where))
        if rest or hidden.shape[1] != where.shape[1]:
            raise HarnessError(
                f"loreft was set up for prompts of the shape {list(where.shape)}, the batch has "
                f"{list(hidden.shape[:2])}"
            )
        if copies == 1:
            return edits.apply(place, hidden, where)
        index = torch.arange(len(where), device=where.device).repeat_interleave(copies)
        return edits.select(index).apply(place, hidden, where[index])

    with ExitStack() as stack:
        for place, layer in enumerate(layers, start=first):
            stack.enter_context(edited(block(model, layer), partial(editing, place)))
        yield


class LoreftEditor(Editor):
    """Edits prompts as the rows of a batch say, each by its own concept's edits.

    Args:
        model: A transformers model.
        plan: A dictionary's method ``loreft``.

    Raises:
        ArtefactError: The edits do not fit the model, or the file is damaged.
    """

    def __init__(self, model: Any, plan: Plan) -> None:
        plan.found.check_fits(hidden_size=width_of(model), n_layers=len(blocks(model)))
        stored = plan.found.tensors(plan.method)
        self._model, self._prefix = model, int(plan.found.manifest["prefix"])
        self._layers = tuple(plan.found.fact(plan.method, "layers"))
        n_blocks, rank = len(blocks(model)), int(plan.found.fact(plan.method, "rank"))
        if max(self._layers, default=0) >= n_blocks:
            raise ArtefactError(
                f"{plan.found.folder}: {plan.method} edits the layers {list(self._layers)}; this "
                f"model has the layers 0 … {n_blocks - 1}"
            )
        device = next(model.parameters()).device
        try:
            self._edits = Edits(*(stored[k].to(device) for k in ("rotation", "source", "offset")))
        except KeyError as cause:
            raise ArtefactError(f"{plan.found.folder}: {plan.method} lacks {cause}") from cause
        shape = (len(plan.found.concepts), len(self._layers), rank, width_of(model))
        for name, own, expected in (
            ("rotation", self._edits.rotation, shape),
            ("source", self._edits.source, shape),
            ("offset", self._edits.offset, shape[:3]),
        ):
            if tuple(own.shape) != expected:
                raise ArtefactError(
                    f"{plan.found.folder}: {plan.method} needs numbers of the shape "
                    f"{list(expected)} in '{name}'"
                )

    def under(self, rows: Steered, places: Places) -> AbstractContextManager[Any]:
        if not any(rows):
            return nullcontext()
        if places is None:
            raise HarnessError(
                "loreft edits the prompt of an answer that is being written; it scores no texts"
            )
        if all(place.start >= place.prompt for place in places):
            return nullcontext()  # answers alone
        device = self._edits.offset.device
        own = torch.tensor([0 if row is None else row.place for row in rows])
        steered = torch.tensor([row is not None for row in rows])
        return self._edited(self._edits.select(own.to(device)), places, steered)

    @contextmanager
    def _edited(self, edits: Edits, places: Sequence[Place], steered: Tensor) -> Iterator[None]:
        def editing(layer: int, hidden: Tensor) -> Tensor:
            if len(hidden) != len(places):
                raise HarnessError(
                    f"loreft was set up for {len(places)} rows, the batch has {len(hidden)}"
                )
            where = at_ends(places, hidden.shape[1], self._prefix) & steered.unsqueeze(1)
            return edits.apply(layer, hidden, where.to(hidden.device))

        with ExitStack() as stack:
            for at, layer in enumerate(self._layers):
                stack.enter_context(edited(block(self._model, layer), partial(editing, at)))
            yield
