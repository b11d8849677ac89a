"""What of an encoder a classifier reads: the last block's first position, and nothing else.

BERT, RoBERTa, ELECTRA and DeBERTa classify by the state of the first token. So the last block needs
keys and values of all positions, and queries, attention, output and MLP of one: of an encoder of L
blocks nearly one is saved, a seventh of MiniLM's time with six. The answer is the same up to
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.models.blocks import forward_replaced
from harness_factcg.checking.disentangled import by_head, fused

_FIRST = {
    "BertForSequenceClassification",
    "RobertaForSequenceClassification",
    "XLMRobertaForSequenceClassification",
    "ElectraForSequenceClassification",
    "DebertaV2ForSequenceClassification",
}


@contextmanager
def quick(model: Any) -> Iterator[None]:
    """Compute of an encoder's classifier only what is read, and that fast, while it lasts.

    Other models, and models on another device than the CPU, where it has not been measured, are
    left alone. The weights must not change meanwhile.

    Args:
        model: A transformers model.
    """
    with ExitStack() as stack:
        if next(model.parameters()).device.type == "cpu" and not model.training:
            stack.enter_context(fused(model))
            stack.enter_context(first_alone(model))
        yield


@contextmanager
def first_alone(model: Any) -> Iterator[None]:
    """Run the last block of an encoder's classifier at the first position alone."""
    with ExitStack() as stack:
        if type(model).__name__ in _FIRST:
            attention = model.base_model.encoder.layer[-1].attention
            if model.config.model_type == "deberta-v2":
                stack.enter_context(forward_replaced(attention, partial(_asked, attention.forward)))
            elif model.config._attn_implementation == "sdpa" and not model.config.is_decoder:
                stack.enter_context(forward_replaced(attention, partial(_attended, attention)))
        yield


def _asked(own: Any, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
    """DeBERTa's attention for the first position, as its ``forward`` can."""
    return own(hidden_states, *args, **{**options, "query_states": hidden_states[:, :1]})


def _attended(
    attention: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
) -> tuple[Tensor, None]:
    """BERT's attention, its output and the residual, for the first position [batch, 1, hidden]."""
    own, first = attention.self, hidden_states[:, :1]
    heads = own.num_attention_heads
    mixed = scaled_dot_product_attention(
        by_head(own.query(first), heads),
        by_head(own.key(hidden_states), heads),
        by_head(own.value(hidden_states), heads),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
    )
    return attention.output(mixed.transpose(1, 2).flatten(2), first), None
