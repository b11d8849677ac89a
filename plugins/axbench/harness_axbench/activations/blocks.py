"""A model's decoder blocks: find them, read and edit their output, run only some of them.

The site of a layer ``l`` (0-indexed) is the output of block ``l``, which is ``hidden_states[l+1]``
of transformers. ``block_output`` runs a model up to there and stops; ``UpperBlocks`` goes on from
there and runs only what lies above.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness import HarnessError, block
from harness.models.blocks import (
    blocks,
    forward_replaced,
    hidden_of,
    inputs_at,
    with_hidden,
)
from harness.models.last_block import read_at


class _Stop(Exception):  # noqa: N818 -- control flow within this module, never seen outside
    """Ends a forward pass at the block whose output is wanted."""


@torch.no_grad()
def block_output(model: nn.Module, layer: int, ids: Tensor, mask: Tensor) -> Tensor:
    """Hidden states behind block ``layer``; nothing above it is computed.

    Args:
        model: A transformers model.
        layer: The block, 0-indexed.
        ids: Token ids. [batch, tokens]
        mask: Attention mask. [batch, tokens]

    Returns:
        Hidden states in the model's dtype. [batch, tokens, hidden]
    """
    return hidden_of(_output_of(model, layer, ids, mask))


@torch.no_grad()
def _output_of(model: nn.Module, layer: int, ids: Tensor, mask: Tensor) -> Any:
    kept: list[Any] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.append(output)
        raise _Stop

    handle = block(model, layer).register_forward_hook(keep)
    try:
        model(input_ids=ids, attention_mask=mask, use_cache=False, **positions(model, mask))
    except _Stop:
        return kept[0]
    finally:
        handle.remove()
    raise HarnessError(f"block {layer} of {type(model).__name__} was not run in a forward pass")


def positions(model: nn.Module, mask: Tensor) -> dict[str, Tensor]:
    """Position ids counted on the attention mask, if the model takes any."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}


def _head_of(model: nn.Module) -> nn.Module:
    head: nn.Module | None = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        raise HarnessError(f"{type(model).__name__} has no language head")
    return head


@contextmanager
def head_on(model: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Run the language head on chosen positions [batch, tokens] alone while the context lasts.

    A pass gives logits [1, chosen, vocabulary], row by row.

    Raises:
        HarnessError: The model has no language head.
    """
    with inputs_at(_head_of(model), wanted):
        yield


class UpperBlocks:
    """The part of a model above one block, run from given outputs of that block.

    The blocks up to there are bypassed, so that a pass costs the blocks above alone, forward and
    backward; the model's own code does the rest (masks, positions, final norm, soft-capping).

    Args:
        model: A transformers model with a language head.
        layer: The block whose output is given, 0-indexed.
    """

    def __init__(self, model: nn.Module, layer: int) -> None:
        block(model, layer)
        self.model, self.layer = model, layer
        probe = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
        self._shape = _output_of(model, layer, probe, torch.ones_like(probe))

    def logits(self, hidden: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
        """Next-token logits of chosen positions.

        The head, and most of the last block, run on those alone.

        Args:
            hidden: Outputs of the block. [batch, tokens, hidden]
            mask: Attention mask. [batch, tokens]
            wanted: Which positions' logits are wanted. [batch, tokens]

        Returns:
            Logits in the order of the chosen positions, row by row. [chosen, vocabulary]
        """
        every = blocks(self.model)
        with ExitStack() as stack:
            stack.enter_context(head_on(self.model, wanted))
            if self.layer + 1 < len(every):
                stack.enter_context(read_at(self.model, wanted))
            logits: Tensor = self._run(hidden, mask).logits
        return logits.squeeze(0)

    def states(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What the language head reads, behind the final norm: [batch, tokens, hidden].

        These are transformers' ``hidden_states[-1]``; the head itself does not run.

        Args:
            hidden: Outputs of the block. [batch, tokens, hidden]
            mask: Attention mask. [batch, tokens]
        """
        kept: list[Tensor] = []

        def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept.append(inputs[0])
            raise _Stop

        handle = _head_of(self.model).register_forward_pre_hook(keep)
        try:
            self._run(hidden, mask)
        except _Stop:
            return kept[0]
        finally:
            handle.remove()
        raise HarnessError(f"the language head of {type(self.model).__name__} was not run")

    def _run(self, hidden: Tensor, mask: Tensor) -> Any:
        def bypass(*_args: Any, **_kwargs: Any) -> Any:
            return with_hidden(self._shape, hidden)

        with ExitStack() as stack:
            for lower in list(blocks(self.model))[: self.layer + 1]:
                stack.enter_context(forward_replaced(lower, bypass))
            ids = torch.zeros_like(mask, dtype=torch.long)
            return self.model(
                input_ids=ids,
                attention_mask=mask,
                use_cache=False,
                **positions(self.model, mask),
            )
