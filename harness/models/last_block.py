"""A decoder's last block at one position of each prompt, which is all that a checker reads of it.

Keys and values of the last block are needed at all positions; queries, attention, its output and
the MLP at the position that is read. Of a decoder with L blocks this saves nearly one: with four
blocks a fifth of the time, with forty little. The answer is the same up to rounding.

It is done to models that run attention through transformers' attention interface with ``sdpa``, and
name their parts ``q_proj``, ``o_proj`` and ``mlp``; others are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harness.errors import HarnessError
from harness.models.blocks import blocks, only_at

NAME = "sdpa_last_at_one_place"
_WANTED = "read_at"


def prepare(model: Any) -> bool:
    """Whether ``read_at`` has an effect on a model, which is made ready for it.

    Args:
        model: A transformers model.
    """
    try:
        last = blocks(model)[-1]
    except (HarnessError, IndexError):
        return False
    attention, mlp = getattr(last, "self_attn", None), getattr(last, "mlp", None)
    parts = ("q_proj", "k_proj", "v_proj", "o_proj")
    if not all(isinstance(getattr(attention, part, None), nn.Linear) for part in parts):
        return False
    if not hasattr(mlp, "down_proj") or model.config._attn_implementation not in ("sdpa", NAME):
        return False
    model.set_attn_implementation(NAME)
    return True


@contextmanager
def read_at(model: Any, wanted: Tensor) -> Iterator[None]:
    """Run a model's last block at chosen positions alone; it gives 0 elsewhere.

    Attention itself is cut down only in a model that is ready for it (``prepare``).

    Args:
        model: The model.
        wanted: Which positions are read; of a prepared model one a row. [batch, tokens]
    """
    last = blocks(model)[-1]
    with ExitStack() as stack:
        if getattr(model.config, "_attn_implementation", None) == NAME:
            attention = last.self_attn
            attention.__dict__[_WANTED] = wanted
            stack.callback(attention.__dict__.pop, _WANTED)
        for part in apart(last):
            stack.enter_context(only_at(part, wanted))
        yield


def apart(last: nn.Module) -> Iterator[nn.Module]:
    """The parts of the last block that need only run at the positions whose logits are wanted.

    Queries, the attention's output and the MLP treat each position apart; keys and values of all
    positions are read. Where a model computes queries, keys and values as one, only the rest.
    """
    for name, own in last.named_modules():
        if name == "mlp" or name.endswith((".q_proj", ".o_proj")):
            yield own


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """``sdpa``; where a module is read at chosen positions, with their queries alone."""
    wanted = module.__dict__.get(_WANTED)
    if wanted is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return found
    if attention_mask is None:  # plainly causal
        mask = wanted.flip(1).cumsum(1).flip(1).bool()[:, None, None]
    else:
        mask = attention_mask.expand(len(wanted), -1, -1, -1).transpose(1, 2)[wanted][:, :, None]
    chosen = query.transpose(1, 2)[wanted].unsqueeze(2)  # [batch, heads, 1, head]
    options["is_causal"] = False
    one, _ = sdpa_attention_forward(module, chosen, key, value, mask, **options)
    whole = one.new_zeros(*wanted.shape, *one.shape[2:])
    return whole.index_put((wanted,), one[:, 0]), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
