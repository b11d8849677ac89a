"""Parts of a model that treat positions apart, run at chosen positions alone.

Projections and MLPs of a transformer compute each position by itself. Where the output is read at
some positions only, the others need not be computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


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
