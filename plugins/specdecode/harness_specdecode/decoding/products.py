"""Matrix products of a float32 model on a CPU, by oneDNN instead of MKL.

torch multiplies float32 matrices by MKL's ``sgemm``. For the 2 to 16 rows of a pass that checks a
draft it needs twice the time of one row, which has a routine of its own, and on processors that are
not Intel's it leaves the widest registers alone. oneDNN, which torch brings as well and uses for
bfloat16, does neither. One core of an AMD EPYC, weights of 2816 x 1024, MKL's time over oneDNN's:
1.5 at 1 row, 1.6 at 2, 1.9 at 8, 2.0 at 64. The numbers differ in their rounding, as those of any
two kernels do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from harness.models.blocks import forward_replaced

_LEAST = 1 << 17  # weights: with fewer, calling takes longer than multiplying


def quick_layers(model: nn.Module) -> list[nn.Linear]:
    """Linear layers that are faster by oneDNN; none on another device or in other bits."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return []
    return [part for part in model.modules() if type(part) is nn.Linear and _gains(part)]


@contextmanager
def quick_products(layers: Sequence[nn.Linear]) -> Iterator[None]:
    """Let these layers multiply by oneDNN.

    Args:
        layers: Of ``quick_layers``.
    """
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(forward_replaced(layer, partial(_product, layer)))
        yield


def _gains(layer: nn.Linear) -> bool:
    weight = layer.weight
    plain = weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous()
    return plain and weight.numel() >= _LEAST and "forward" not in vars(layer)


def _product(layer: nn.Linear, rows: Tensor) -> Tensor:
    if rows.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return nn.functional.linear(rows, layer.weight, layer.bias)
    return _ONE_DNN(rows, layer.weight, layer.bias, "none", [], "")


_ONE_DNN: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
