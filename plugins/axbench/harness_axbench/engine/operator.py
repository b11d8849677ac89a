"""The operator that edits a block's output within vLLM's compiled models and CUDA graphs.

    paperharness::steer(Tensor(a!) hidden, Tensor? residual, str site) -> ()

A block of vLLM's models gives ``(hidden, residual)``, whose sum is its output; the edit goes into
``hidden``, in place. The compiler sees the call and not what it does; what it does is read from
tables that stay where they are, so that a graph once captured edits each step as that step's tables
say. ``site`` names them: they lie in vLLM's own table of layers, one for each engine.

On a CPU the edit is torch's; where there is an accelerator it is one Triton kernel (``kernel``).
Both are tested against ``edited``, which says in torch what an edit is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness_axbench.engine.tables import Tables

SITE = "paperharness.steering"


@torch.library.custom_op("paperharness::steer", mutates_args=("hidden",))
def steer(hidden: Tensor, residual: Tensor | None, site: str) -> None:
    """Edit the tokens of a step.

    Args:
        hidden: [tokens or more, hidden]; tokens behind the step's own are padding.
        residual: Of the same shape, or None.
        site: Where the tables lie in vLLM's forward context.
    """
    from vllm.forward_context import get_forward_context

    tables: Tables = get_forward_context().no_compile_layers[site]
    if hidden.device.type == "cpu":
        tables.apply(hidden, residual)
    else:
        from harness_axbench.engine.kernel import apply

        apply(tables, hidden, residual)


@steer.register_fake
def _(hidden: Tensor, residual: Tensor | None, site: str) -> None:
    """Nothing but the change of ``hidden``."""


def steer_block(block: Any, site: str = SITE) -> None:
    """Let a block of vLLM's edit its output, before it is compiled."""

    def edit(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output if isinstance(output, Tensor) else output[0]
        residual = None if isinstance(output, Tensor) or len(output) < 2 else output[1]
        # transformers' own blocks keep a batch of one
        width = hidden.shape[-1]
        steer(hidden.view(-1, width), None if residual is None else residual.view(-1, width), site)
        return output

    block.register_forward_hook(edit)
