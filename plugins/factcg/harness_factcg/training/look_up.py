"""How a small checker's training starts: near looking the claim's words up in the document.

A claim is checked by comparing its words with the document's. From ordinary random weights, runs
of 600 to 1,000 steps did not find that out. So three layers of a DeBERTa start near that circuit,
and training does the rest (which words matter, how the parts of a claim add up). Positions count as
near below ``NEAR`` tokens and as far from there, and each head keeps two of its numbers for the
steering:

- Layer 0 marks the claim: a token attends to the end of the template where that is near, and notes
  it. The convolution after this layer gives each token the words beside it.
- Layer 1 looks up: a token attends to far tokens with the same words beside them. Where there are
  none it attends to the first token, and notes that.
- Layer 2 collects: every token attends to tokens with both notes, the claim's words that were not
  found. The classifier reads the first token.

With attention scores q·k / √(2d) in heads of d numbers, and layer-normalised states x (|x|² = n,
the hidden size), a query bias b √(2d/n) against the unit vector of a token or of a position adds b
to the scores of that token or position, and about ± b/√n to those of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

LAYERS = 3
"""Layers that have a part in it; more are left as they are."""
NEAR = 16

_POSITION = 10.0  # score of the wanted side, and minus that of the other
_CLOSING = 20.0  # score of the template's end in layer 0
_MATCH = 24.0  # score of a token with the same words beside it, and of the first token, in layer 1
_NOTED = 1.5  # weight of a note in layer 2, per unit of the state
_NOTE = 2.0  # length of a note, in units of the state
_WORDS = 10.0  # by how much the convolution's weights are larger than usual
_OWN = 0.5  # size of a token's own state beside its words'


@torch.no_grad()
def start_near_look_up(model: Any, closing: Sequence[int]) -> None:
    """Set the weights of a fresh model in place.

    Args:
        model: A DeBERTa-v2 classifier of at least ``LAYERS`` layers, with a convolution, normalised
            relative positions and c2p attention alone.
        closing: Ids of the tokens that follow the claim in the template.
    """
    encoder, size = model.deberta.encoder, model.config.hidden_size
    words = model.deberta.embeddings.word_embeddings.weight
    words.normal_(0.0, 1.0)
    words[model.config.pad_token_id] = 0.0
    side = _unit(torch.randn(size))
    table = encoder.rel_embeddings.weight
    distance = (torch.arange(len(table)) - len(table) // 2).abs()
    table.copy_(torch.where(distance < NEAR, 1.0, -1.0)[:, None] * side * size**0.5)
    first, end = _unit(words[model.config.cls_token_id]), _unit(words[list(closing)].mean(0))
    claim, missing = _orthogonal(side, size)
    marking, looking, collecting = (layer.attention for layer in encoder.layer[:LAYERS])

    _soften(marking.self, 0.1)
    _steer(marking.self, 0, side, _POSITION)
    _steer(marking.self, 1, end, _CLOSING)
    _note(marking, end, claim)
    encoder.conv.conv.weight *= _WORDS
    encoder.layer[0].output.LayerNorm.weight.fill_(_OWN)

    same = torch.randn(size, size) @ (torch.eye(size) - torch.outer(side, side))
    heads = looking.self.num_attention_heads
    same *= (_MATCH * _scale(looking.self) / ((size // heads - 2) * size)) ** 0.5
    looking.self.query_proj.weight.copy_(same)
    looking.self.key_proj.weight.copy_(same)
    _steer(looking.self, 0, side, -_POSITION)
    _steer(looking.self, 1, first, _MATCH)
    _note(looking, first, missing)

    _soften(collecting.self, 0.2)
    _steer(collecting.self, 0, claim + missing, _NOTED * size**0.5)


def _unit(vector: torch.Tensor) -> torch.Tensor:
    """A direction that layer normalisation leaves: of mean 0 and length 1."""
    centred: torch.Tensor = vector - vector.mean()
    found: torch.Tensor = centred / centred.norm()
    return found


def _orthogonal(side: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two directions at right angles to each other and to the positions'."""
    one = torch.randn(size)
    one = _unit(one - side * (one @ side))
    other = torch.randn(size)
    other = other - side * (other @ side) - one * (other @ one)
    return one, _unit(other)


def _scale(attention: Any) -> float:
    """What scores are divided by: √(2d), content and positions."""
    return float((2 * attention.attention_head_size) ** 0.5)


def _soften(attention: Any, factor: float) -> None:
    """Let the content decide less."""
    attention.query_proj.weight *= factor
    attention.key_proj.weight *= factor


def _steer(attention: Any, number: int, key: torch.Tensor, score: float) -> None:
    """Add a score to keys along a direction, in one number of every head, whatever the query is."""
    for start in range(0, len(attention.key_proj.weight), attention.attention_head_size):
        attention.key_proj.weight[start + number] = key
        attention.query_proj.weight[start + number] = 0.0
        bias = score * _scale(attention) / len(key) ** 0.5
        attention.query_proj.bias[start + number] = bias


def _note(attention: Any, source: torch.Tensor, note: torch.Tensor) -> None:
    """Write how much a token attends to a direction into another one of its own state."""
    heads = attention.self.num_attention_heads
    for start in range(0, len(note), attention.self.attention_head_size):
        attention.self.value_proj.weight[start] = source
        attention.output.dense.weight[:, start] = note * _NOTE / heads
