"""Low-rank additions to linear layers, row by row (LoRA).

    f(x) = W·x + s · B·A·x     A and B by the row's concept

See ``methods.lora`` for where A, B and s come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness import ArtefactError, HarnessError
from harness.models.blocks import blocks
from harness_axbench.activations.loading import width_of
from harness_axbench.steering.editors import Editor, Places, Rows
from harness_axbench.steering.plan import Plan


@dataclass(frozen=True)
class LowRank:
    """Additions to some layers, of one concept or of several.

    Attributes:
        a: A. [..., layers, r, in]
        b: B. [..., layers, out, r]
    """

    a: Tensor
    b: Tensor


class LoraEditor(Editor):
    """Adds to linear layers as the rows of a batch say, each by its own concept's A and B.

    Args:
        model: A transformers model.
        plan: A dictionary's method ``lora``.

    Raises:
        ArtefactError: The additions do not fit the model, or the file is damaged.
    """

    def __init__(self, model: Any, plan: Plan) -> None:
        found, method = plan.found, plan.method
        found.check_fits(hidden_size=width_of(model), n_layers=len(blocks(model)))
        stored, names = found.tensors(method), list(found.fact(method, "targets"))
        self._scaling = float(found.fact(method, "scaling"))
        self._layers: list[nn.Module] = []
        try:
            self._layers = [model.get_submodule(name) for name in names]
            a, b = stored["a"], stored["b"]
        except (AttributeError, KeyError) as cause:
            raise ArtefactError(
                f"{found.folder}: {method} does not fit this model ({cause})"
            ) from cause
        if not a.dim() == b.dim() == 4 or a.shape[1:3] != (len(names), b.shape[3]):
            raise ArtefactError(
                f"{found.folder}: {method} needs matrices for {len(names)} layers; 'a' has the "
                f"shape {list(a.shape)}, 'b' {list(b.shape)}"
            )
        for place, layer in enumerate(self._layers):
            shape = tuple(getattr(layer, "weight", torch.empty(0)).shape)
            own = (b.shape[-2], a.shape[-1])
            if shape != own or a.shape[:2] != b.shape[:2]:
                raise ArtefactError(
                    f"{found.folder}: {method} adds a matrix {list(own)} for each of {len(b)} "
                    f"concepts to {names[place]}, which is {list(shape)} in this model"
                )
        device = next(model.parameters()).device
        self._stored = LowRank(a.to(device), b.to(device))

    def under(self, rows: Rows, places: Places) -> AbstractContextManager[Any]:
        if not any(rows):
            return nullcontext()
        device = self._stored.a.device
        own = torch.tensor([0 if row is None else row.place for row in rows], device=device)
        steered = torch.tensor([row is not None for row in rows], device=device)
        b = self._stored.b[own] * steered.view(-1, 1, 1, 1) * self._scaling
        return _added(self._layers, LowRank(self._stored.a[own], b))


@contextmanager
def _added(layers: Sequence[nn.Module], rows: LowRank) -> Iterator[None]:
    """Add to the layers' outputs while the context lasts.

    Args:
        layers: The linear layers.
        rows: One for each row, or one for all. [rows, layers, …]
    """

    def hook(place: int) -> Callable[..., Tensor]:
        a, b = rows.a[:, place].mT, rows.b[:, place].mT

        def add(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if len(a) not in (1, len(output)):
                raise HarnessError(
                    f"lora was set up for {len(a)} rows, the batch has {len(output)}"
                )
            changed: Tensor = output + (inputs[0].to(a.dtype) @ a @ b)
            return changed.to(output.dtype)

        return add

    handles = [layer.register_forward_hook(hook(place)) for place, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
