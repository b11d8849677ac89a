"""A transformers model's decoder blocks: found, edited, and run at chosen positions alone.

Projections and MLPs of a transformer compute each position by itself: where the output is read at
some positions only, the others need not be computed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from harness.errors import HarnessError


def home_of_blocks(model: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds a model's decoder blocks, adapters unwrapped, and their name in it.

    Raises:
        HarnessError: The model has no list of blocks under a known name.
    """
    unwrap: Any = getattr(model, "get_base_model", None)
    inner: Any = unwrap() if unwrap else model
    for _ in range(4):  # a decoder may lie a few wrappers deep
        for name in ("layers", "h", "blocks"):
            if isinstance(getattr(inner, name, None), nn.ModuleList):
                return inner, name
        for name in ("model", "language_model", "decoder", "transformer", "gpt_neox"):
            if isinstance(getattr(inner, name, None), nn.Module):
                inner = getattr(inner, name)
                break
        else:
            break
    raise HarnessError(f"{type(model).__name__} has no list of decoder blocks that can be found")


def blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a transformers model, adapters unwrapped.

    Raises:
        HarnessError: The model has no list of blocks under a known name.
    """
    found: nn.ModuleList = getattr(*home_of_blocks(model))
    return found


def block(model: nn.Module, layer: int) -> nn.Module:
    """Decoder block ``layer``, 0-indexed.

    Raises:
        HarnessError: The model has no such block; the message names the range.
    """
    every = blocks(model)
    if not 0 <= layer < len(every):
        raise HarnessError(f"layer {layer} does not exist: the model has 0 … {len(every) - 1}")
    return every[layer]


def cache_name(model: nn.Module) -> str:
    """What a model's forward pass calls its cache, which newer releases of transformers rename."""
    own = getattr(model, "get_base_model", lambda: model)()  # an adapter's takes what it is given
    there = inspect.signature(own.forward).parameters
    return "cache" if "cache" in there else "past_key_values"


def hidden_of(output: Any) -> Tensor:
    """The hidden states in a block's output, which is a tensor or a tuple that begins with it."""
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """A block's output with other hidden states."""
    return hidden if isinstance(output, Tensor) else (hidden, *output[1:])


@contextmanager
def edited(module: nn.Module, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Edit a block's output [batch, tokens, hidden] while the context lasts."""

    def replace(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return with_hidden(output, edit(hidden_of(output)))

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def inputs_at(module: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Hand a module the chosen positions [batch, tokens] alone, row by row: [1, chosen, hidden]."""

    def choose(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][wanted].unsqueeze(0), *inputs[1:])

    handle = module.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def only_at(module: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Run a module on chosen positions [batch, tokens] alone; its output is 0 elsewhere."""

    def put_back(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        found = output[0] if isinstance(output, tuple) else output
        whole = found.new_zeros(*wanted.shape, found.shape[-1])
        whole = whole.index_put((wanted,), found.squeeze(0))
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    with ExitStack() as stack:
        stack.enter_context(inputs_at(module, wanted))
        stack.callback(module.register_forward_hook(put_back).remove)
        yield


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give one module another ``forward`` while the context lasts; its own comes back behind it."""
    own = vars(module).get("forward")  # accelerate puts its own on an instance
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]
        if own is not None:
            vars(module)["forward"] = own
