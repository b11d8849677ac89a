"""DeBERTa's disentangled attention without its look-ups, for scoring on a CPU.

He et al. 2021, *DeBERTa*, arXiv 2006.03654, equation 4: of a query i and a key j whose distance
i − j falls into the bucket δ(i, j),

    score[i, j] = (q_i · k_j + q_i · K_δ(i,j) + k_j · Q_δ(j,i)) / √(3 d)

with K and Q the projections of the buckets' embeddings. transformers looks the last two terms up:
it gathers [heads, n, n] numbers by an index of [n, n], twice, and adds, divides and masks tensors
of that size a dozen times. At 850 tokens this takes longer than all matrix products of a block of
768.

Both terms depend on i − j alone, so they are skewed products. For the rows i of a block, with E the
product of their queries and of the embeddings of all distances in falling order,

    E[i, m] = q_i · K_δ(n − 1 − m),    q_i · K_δ(i − j) = E[i, n − 1 − i + j],

which is a view of E whose rows are one number shorter than E's: no index, no copy. Distances
outside a block's rows are not computed, so blocks of 64 rows take little more than the product of
queries and keys. The sum of both terms goes into fused attention as its mask. The projections of
the embeddings are the same for all texts, and computed once.

Example, n = 2 and a block of both rows: E has the columns of the distances 1, 0, −1; row 0 reads
columns 1 and 2 (distances 0 and −1), row 1 columns 0 and 1 (1 and 0).

The answer is transformers' own up to rounding, but for the states of padding, which nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.models.blocks import forward_replaced

ROWS = 64
"""Rows whose skewed products are computed at once; they stay in a core's cache."""


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Run a DeBERTa-v2's or -v3's attention so while the context lasts; others are left alone.

    The weights must not change meanwhile. Nothing is computed for gradients.

    Args:
        model: A transformers model.
    """
    with ExitStack() as stack:
        if getattr(model.config, "model_type", None) == "deberta-v2":
            buffers: dict[tuple[int, ...], Tensor] = {}
            for module in model.modules():
                if type(module).__name__ == "DisentangledSelfAttention" and module.pos_att_type:
                    stack.enter_context(forward_replaced(module, _Attention(module, buffers)))
        yield


def by_head(states: Tensor, heads: int) -> Tensor:
    """[batch, tokens, hidden] as [batch, heads, tokens, head]."""
    return states.reshape(*states.shape[:-1], heads, -1).transpose(1, 2)


class _Attention:
    """One block's attention, called as transformers calls its own.

    Args:
        module: A ``DisentangledSelfAttention``.
        buffers: Memory for the scores, which all blocks use in turn.
    """

    def __init__(self, module: Any, buffers: dict[tuple[int, ...], Tensor]) -> None:
        self._module = module
        self._own = module.forward
        self._buffers = buffers
        self._positions: tuple[Tensor | None, Tensor | None] | None = None

    def __call__(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        *,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if output_attentions or relative_pos is None or rel_embeddings is None:
            found: tuple[Tensor, Tensor | None] = self._own(
                hidden_states,
                attention_mask,
                output_attentions,
                query_states=query_states,
                relative_pos=relative_pos,
                rel_embeddings=rel_embeddings,
            )
            return found
        module = self._module
        asked = hidden_states if query_states is None else query_states
        query, key, value = (
            self._heads(projection(states))
            for projection, states in (
                (module.query_proj, asked),
                (module.key_proj, hidden_states),
                (module.value_proj, hidden_states),
            )
        )
        scale = (query.shape[-1] * (1 + len(self._terms()))) ** -0.5
        if self._positions is None:
            self._positions = self._projected(rel_embeddings)
        bias = self._bias(query * scale, key * scale, _by_distance(relative_pos))
        inside = attention_mask.bool().diagonal(dim1=-2, dim2=-1)[:, 0]  # [batch, tokens]
        if not inside.all():
            lowest = torch.finfo(bias.dtype).min
            bias.masked_fill_(~inside[None, :, None], lowest)
        mixed = scaled_dot_product_attention(
            query, key, value, attn_mask=bias.transpose(0, 1), scale=scale
        )
        return mixed.transpose(1, 2).flatten(2), None

    def _terms(self) -> list[str]:
        return [term for term in ("c2p", "p2c") if term in self._module.pos_att_type]

    def _heads(self, states: Tensor) -> Tensor:
        return by_head(states, self._module.num_attention_heads)

    def _projected(self, embeddings: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Keys and queries of the buckets [heads, buckets, head]; None of a term that is not."""
        module, terms = self._module, self._terms()
        used = embeddings[: 2 * module.pos_ebd_size].unsqueeze(0)
        shared = module.share_att_key
        key = query = None
        if "c2p" in terms:
            key = self._heads((module.key_proj if shared else module.pos_key_proj)(used))[0]
        if "p2c" in terms:
            query = self._heads((module.query_proj if shared else module.pos_query_proj)(used))[0]
        return key, query

    def _bias(self, query: Tensor, key: Tensor, buckets: Tensor) -> Tensor:
        """The terms of position [heads, batch, rows, tokens], in memory that is used again.

        Args:
            query: Scaled queries. [batch, heads, rows, head]
            key: Scaled keys. [batch, heads, tokens, head]
            buckets: Of the distances from −(tokens − 1) up. [2 tokens − 1]
        """
        (batch, heads, rows, _), tokens = query.shape, key.shape[2]
        shape = (heads, batch, rows, tokens)
        if shape not in self._buffers:
            self._buffers.clear()
            self._buffers[shape] = query.new_empty(shape)
        bias = self._buffers[shape]
        span, (keys, queries) = self._module.pos_ebd_size, self._positions or (None, None)
        if keys is None:
            bias.zero_()
        else:
            at = (buckets + span).clamp(0, 2 * span - 1).flip(0)
            for place, part in _skewed(query, keys[:, at], rows, tokens):
                bias[:, :, place] = part
        if queries is not None:
            at = (span - buckets).clamp(0, 2 * span - 1).flip(0)
            for place, part in _skewed(key, queries[:, at], tokens, rows):
                bias[..., place] += part.transpose(-1, -2)
        return bias


def _by_distance(relative: Tensor) -> Tensor:
    """Buckets of the distances from −(n − 1) to n − 1, from those of all pairs [1, n, n]."""
    square = relative.reshape(relative.shape[-2:]).long()
    return torch.cat([square[0, 1:].flip(0), square[:, 0]])


def _skewed(
    states: Tensor, table: Tensor, rows: int, columns: int
) -> Iterator[tuple[slice, Tensor]]:
    """Products of each row's state and the table's entry for its distance to each column.

    Args:
        states: Of the rows. [batch, heads, rows, head]
        table: An entry for each distance row − column, the largest first; as many on either side
            of 0 as there are tokens but one. [heads, 2 tokens − 1, head]
        rows: How many there are.
        columns: Likewise.

    Yields:
        Which rows, and their products. [heads, batch, rows of the block, columns]
    """
    batch, heads = states.shape[:2]
    zero = table.shape[1] // 2  # the entry for distance 0
    for start in range(0, rows, ROWS):
        end = min(start + ROWS, rows)
        here = end - start
        own = table[:, zero + 1 - end : zero - start + columns]
        block = states[:, :, start:end].transpose(0, 1).reshape(heads, batch * here, -1)
        product = torch.bmm(block, own.transpose(1, 2))
        wide = own.shape[1]
        strides = (batch * here * wide, here * wide, wide - 1, 1)
        yield (
            slice(start, end),
            product.as_strided((heads, batch, here, columns), strides, here - 1),
        )
