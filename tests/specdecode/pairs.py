"""Pairs of distributions that the couplings are tried on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def random_pair(n: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two draws from a Dirichlet distribution."""
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.dirichlet(np.ones(n))) for _ in "pq")


def zipf_pair(n: int = 200) -> tuple[Tensor, Tensor]:
    """Zipf's law, and a steeper one with neighbours swapped."""
    rank = torch.arange(1, n + 1, dtype=torch.float64)
    p, q = 1 / rank, (1 / rank**1.3)[torch.arange(n) ^ 1]
    return p / p.sum(), q / q.sum()


def tight_pair(n: int) -> tuple[Tensor, Tensor]:
    """Uniform on all but the first, and on all but the second: d = 1/(n - 1)."""
    p, q = torch.ones(2, n, dtype=torch.float64) / (n - 1)
    p[0] = q[1] = 0
    return p, q


def real_pair() -> tuple[Tensor, Tensor]:
    """What the testbed's teacher and student expect after a few words of an answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.testbed import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path("teacher"))
    turn = [{"role": "user", "content": "What is the theater like?"}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text + "The", add_special_tokens=False, return_tensors="pt").input_ids
    found = []
    for name in ("teacher", "student"):
        model = AutoModelForCausalLM.from_pretrained(model_path(name)).eval()
        with torch.inference_mode():
            found.append(torch.softmax(model(ids).logits[0, -1].double(), -1))
    return found[0].clone(), found[1].clone()
