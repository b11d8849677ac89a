"""The edit of ``operator`` as one Triton kernel: a program a token.

A token that is left alone costs a load. Of one that is edited, the block's output is read once, and
each of its edits that lies at its position is made on what the one before has left:

    x = (h + r)·e + b,  z after the activation,  h ← h + c·w      (``steering.interventions``)

in fp32, each c·w rounded to the model's precision as in torch.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from harness_axbench.dictionary.directions import ACTIVATIONS, JUMPRELU, RELU
from harness_axbench.engine.edits import MOST
from harness_axbench.engine.tables import Tables
from harness_axbench.steering.steering import CLAMP, KINDS, MIN_CLAMP, NULL_OUT

_RELU, _JUMPRELU = (tl.constexpr(ACTIVATIONS.index(name)) for name in (RELU, JUMPRELU))
_CLAMP, _MIN_CLAMP, _NULL_OUT = (
    tl.constexpr(KINDS.index(name)) for name in (CLAMP, MIN_CLAMP, NULL_OUT)
)


@triton.jit  # type: ignore[untyped-decorator]
def _steer(  # type: ignore[no-untyped-def]  # its types are Triton's
    hidden,
    residual,
    positions,
    row_of_token,
    facts,
    scales,
    weight,
    encoder,
    bias,
    threshold,
    width,
    hidden_stride,
    residual_stride,
    rows,
    HAS_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EDITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    row = tl.load(row_of_token + token)
    if row != 0:
        position = tl.load(positions + token)
        columns = tl.arange(0, BLOCK)
        within = columns < width
        h = tl.load(hidden + token * hidden_stride + columns, mask=within, other=0.0)
        if HAS_RESIDUAL:
            r = tl.load(residual + token * residual_stride + columns, mask=within, other=0.0)
            r = r.to(tl.float32)
        else:
            r = tl.zeros((BLOCK,), tl.float32)
        for edit in range(EDITS):
            cell = row * EDITS + edit
            place = tl.load(facts + cell).to(tl.int64)
            kind = tl.load(facts + rows * EDITS + cell)
            begin = tl.load(facts + 2 * rows * EDITS + cell)
            end = tl.load(facts + 3 * rows * EDITS + cell)
            if (place >= 0) & (begin <= position) & (position < end):
                scale = tl.load(scales + cell)
                w = tl.load(weight + place * width + columns, mask=within, other=0.0)
                c = scale
                if kind != 0:
                    output = h.to(tl.float32) + r
                    b = tl.load(bias + place)
                    if kind == _NULL_OUT:
                        length = tl.maximum(tl.sum(w * w), 1.1754943508222875e-38)
                        c = -tl.maximum(tl.sum(output * w) + b, 0.0) / length
                    else:
                        e = tl.load(encoder + place * width + columns, mask=within, other=0.0)
                        z = tl.sum(output * e) + b
                        if ACTIVATION == _RELU:
                            z = tl.maximum(z, 0.0)
                        if ACTIVATION == _JUMPRELU:
                            z = tl.where(z > tl.load(threshold + place), tl.maximum(z, 0.0), 0.0)
                        if kind == _MIN_CLAMP:
                            c = tl.maximum(scale, z) - z
                        else:
                            c = scale - z
                h = (h.to(tl.float32) + (c * w).to(h.dtype).to(tl.float32)).to(h.dtype)
        tl.store(hidden + token * hidden_stride + columns, h, mask=within)


def apply(tables: Tables, hidden: Tensor, residual: Tensor | None) -> None:
    """Edit ``hidden`` in place, as ``Tables.apply`` does.

    Args:
        tables: On the device of the hidden states.
        hidden: [tokens or more, hidden]
        residual: Of the same shape, or None.
    """
    found = tables.directions
    _steer[(len(hidden),)](
        hidden,
        hidden if residual is None else residual,
        tables.positions,
        tables.row_of_token,
        tables.facts,
        tables.scales,
        found.weight,
        found.encoder,
        found.bias,
        found.threshold,
        hidden.shape[-1],
        hidden.stride(0),
        hidden.stride(0) if residual is None else residual.stride(0),
        len(tables.scales),
        HAS_RESIDUAL=residual is not None,
        ACTIVATION=ACTIVATIONS.index(found.activation),
        EDITS=MOST,
        BLOCK=triton.next_power_of_2(hidden.shape[-1]),
    )
