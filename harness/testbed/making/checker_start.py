"""How the checker's training starts: attention that looks back, and attention that looks up.

A claim is checked by looking up its name and relation in the document. Runs of 300 to 500 steps
from random weights did not find that out. So the first two blocks start near that circuit, and
training does the rest (what the words mean, what counts as equal, how parts of a claim add up).

The hidden state is cut into pieces of ``PIECE`` numbers. Embeddings fill piece 0. In block 0, head
j - 1 attends j tokens back and copies piece 0 to piece j. In block 1, a token's pieces 0 to 3 are
the query and the pieces 1 to 4 of earlier tokens the key: "Anna lives in" finds what follows "Anna
lives in". In block 2, some heads attend one token back.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

PIECE = 32
PIECES = 5
EMBEDDING_SCALE = 0.2
SHARPNESS = 9.0


def _look_back(model: LlamaForCausalLM, layer: int, offsets: tuple[int, ...]) -> None:
    """Make head i of a block attend ``offsets[i]`` tokens back.

    Rotary attention between constant query and key vectors depends on the distance alone; it is
    largest at distance d if the query is the key turned back by d. So the biases are set so.
    """
    attention = model.model.layers[layer].self_attn
    size = model.config.head_dim
    half, used = size // 2, 8
    theta = model.config.rope_parameters["rope_theta"]
    frequency = theta ** (-torch.arange(half) / half)
    for head, offset in enumerate(offsets):
        turn = offset * frequency[:used]
        start = head * size
        for matrix in (attention.q_proj.weight, attention.k_proj.weight):
            matrix[start : start + size] *= 0.2
        attention.k_proj.bias[start : start + used] = SHARPNESS
        attention.q_proj.bias[start : start + used] = SHARPNESS * turn.cos()
        attention.q_proj.bias[start + half : start + half + used] = -SHARPNESS * turn.sin()


def _look_up(model: LlamaForCausalLM, layer: int, strength: float = 1.2) -> None:
    """Make all heads of a block attend to tokens whose previous four tokens are these four.

    Only the slowly turning half of the rotary pairs is used, so that distance does not matter.
    """
    attention = model.model.layers[layer].self_attn
    size = model.config.head_dim
    slow = [i for i in range(size) if i % (size // 2) >= size // 4]
    for head in range(model.config.num_attention_heads):
        rows = torch.tensor(slow) + head * size
        attention.q_proj.weight[head * size : (head + 1) * size] *= 0.1
        attention.k_proj.weight[head * size : (head + 1) * size] *= 0.1
        for piece in range(PIECES - 1):
            code = torch.randn(len(slow), PIECE) / len(slow) ** 0.5 * strength
            here, before = piece * PIECE, (piece + 1) * PIECE
            attention.q_proj.weight[rows, here : here + PIECE] = code
            attention.k_proj.weight[rows, before : before + PIECE] = code
        copied = head * PIECE
        rows = torch.arange(PIECE) + head * size
        attention.v_proj.weight[rows] *= 0.1
        attention.v_proj.weight[rows, torch.arange(PIECE) + copied] = 1.0


@torch.no_grad()
def start_near_look_up(model: LlamaForCausalLM) -> None:
    """Set the weights of a fresh model in place; needs five heads and attention biases."""
    embedding = model.get_input_embeddings().weight
    embedding.normal_(0.0, 0.02)
    embedding[:, :PIECE].normal_(0.0, EMBEDDING_SCALE)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight *= 0.15
        layer.self_attn.o_proj.weight *= 0.3
    model.model.layers[0].self_attn.o_proj.weight *= 0.1
    _look_back(model, 0, (1, 2, 3, 4))
    attention = model.model.layers[0].self_attn
    size = model.config.head_dim
    for head in range(PIECES - 1):
        rows = torch.arange(PIECE) + head * size
        attention.v_proj.weight[head * size : (head + 1) * size] = 0.0
        attention.v_proj.weight[rows, torch.arange(PIECE)] = 1.0
        attention.o_proj.weight[:, head * size : (head + 1) * size] = 0.0
        target = torch.arange(PIECE) + (head + 1) * PIECE
        attention.o_proj.weight[target, rows] = EMBEDDING_SCALE * (PIECES**-0.5)
    _look_up(model, 1)
    _look_back(model, 2, (1, 1, 1))
