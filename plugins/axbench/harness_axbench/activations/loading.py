"""A transformers model and its tokenizer, as a reader of one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.models.checkpoints import open_causal
from harness_axbench.activations.reader import Reader


def resolved(model: str) -> str:
    """A model's id or path; ``testbed:NAME`` becomes the path of an embedded one."""
    from harness.testbed import resolve

    return resolve(model)


def load_reader(
    model: str,
    *,
    layer: int,
    batch_size: int,
    device: str,
    dtype: str,
    revision: str,
    add_bos_token: bool | None = None,
) -> Reader:
    """Load a model to read its layer.

    Args:
        model: Model id or path, or ``testbed:NAME``.
        layer: The block, 0-indexed.
        batch_size: Texts a forward pass.
        device: Torch device; ``auto`` takes a GPU where there is one.
        dtype: Weights' dtype; ``auto`` takes the checkpoint's.
        revision: The model's revision on the hub.
        add_bos_token: As for ``Reader``.

    Raises:
        HarnessError: The model cannot be loaded, or has no such layer.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded, tokenizer = open_causal(
        "model",
        model,
        revision=revision,
        dtype=dtype,
        device=device,
        add_bos_token=add_bos_token,
    )
    return Reader(
        loaded, tokenizer, layer=layer, batch_size=batch_size, add_bos_token=add_bos_token
    )


def width_of(model: nn.Module) -> int:
    """The model's hidden size."""
    config: Any = model.config
    inner = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(inner.hidden_size)
