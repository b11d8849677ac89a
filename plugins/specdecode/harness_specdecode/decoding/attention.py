"""Attention over slots: several queries a row, a mask of each row's own, grouped keys not copied.

Where a model has g query heads a key head, transformers' ``sdpa`` repeats keys and values g times
as soon as there is a mask. Here the g heads are queries of one head instead, one below another:

    [n, heads, W, D] → [n, key heads, g · W, D],  the mask [n, 1, W, keys] g times below itself

which is the same attention, and leaves the cache where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_NAME = "harness_slots"


def groups(config: Any) -> int:
    """Query heads a key head."""
    heads: int = config.num_attention_heads
    return heads // (getattr(config, "num_key_value_heads", None) or heads)


@contextmanager
def slot_attention(config: Any) -> Iterator[None]:
    """Let a model of this configuration attend in this way; ``eager`` attention stays.

    Inside, no mask means a causal one, and masks of several queries have g · W rows.
    """
    before = config._attn_implementation
    if before != "sdpa":
        yield
        return
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    n, heads, width, depth = query.shape
    shared = heads // key.shape[1]
    if mask is None or shared == 1 or mask.shape[-2] not in (1, shared * width):
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, **kwargs
        )
        return found
    below = query.reshape(n, key.shape[1], shared * width, depth)
    scale = kwargs.get("scaling")
    found_below = torch.nn.functional.scaled_dot_product_attention(
        below, key, value, attn_mask=mask, scale=scale
    )
    return found_below.reshape(n, heads, width, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(_NAME, _attend)
