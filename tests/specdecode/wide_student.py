"""The testbed's student with heads of a width that vLLM's CPU attention has."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from harness.testbed import model_path

WIDTH = 32


def wide_student(folder: Path) -> Path:
    """The same function of the same tokens, with heads of 32 numbers in the place of 24.

    The halves of a head that rotary embedding turns together are padded with zeros each. Its base
    becomes θ^(32/24), which keeps every frequency θ^(−2i/24); queries grow by √(32/24), as scores
    are divided by the root of the width.
    """
    small = AutoModelForCausalLM.from_pretrained(model_path("student"))
    config, narrow = small.config, small.config.head_dim
    theta = config.rope_parameters["rope_theta"] ** (WIDTH / narrow)
    wider = type(config)(
        **config.to_dict()
        | {"head_dim": WIDTH, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    )
    weights = small.state_dict()
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            scale = math.sqrt(WIDTH / narrow) if "q_proj" in name else 1.0
            weights[name] = scale * _padded(weight, narrow)
        elif name.endswith("o_proj.weight"):
            weights[name] = _padded(weight.T, narrow).T.contiguous()
    made = LlamaForCausalLM(wider)
    made.load_state_dict(weights)
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path("student")).save_pretrained(folder)
    return folder


def _padded(weight: torch.Tensor, narrow: int) -> torch.Tensor:
    """Rows of heads [h · narrow, n], each half of a head padded: [h · WIDTH, n]."""
    halves = weight.reshape(-1, narrow // 2, weight.shape[-1])
    padded = torch.nn.functional.pad(halves, (0, 0, 0, (WIDTH - narrow) // 2))
    return padded.reshape(-1, weight.shape[-1])
