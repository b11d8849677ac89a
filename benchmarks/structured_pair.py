"""A target and a drafter that agree as a trained pair does, of random weights and of any size.

The target is a Llama whose layers above the first few write little (``upper`` times what random
weights would), so that those first layers, with its norm and its head, foresee most of what it
says. They are the drafter. The head's scale makes the distributions as sharp as is wanted.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from harness.testbed import model_path


def structured_pair(
    folder: Path,
    *,
    hidden: int = 768,
    layers: int = 16,
    kept: int = 1,
    upper: float = 0.05,
    sharpness: float = 3.0,
    vocabulary: int = 8192,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[str, str]:
    """Save the pair, each with the testbed's tokenizer.

    Args:
        folder: Where to.
        hidden: Width; heads are of 64 numbers.
        layers: The target's.
        kept: The drafter's: the target's first.
        upper: Scale of what the other layers write.
        sharpness: Standard deviation of logits.
        vocabulary: Number of ids, at least the testbed's 2,048.
        dtype: Of the weights.
        seed: Of the weights.

    Returns:
        Folders of target and drafter.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=hidden**-0.5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    target = AutoModelForCausalLM.from_config(config).requires_grad_(False)
    target.model.embed_tokens.weight.normal_()
    target.lm_head.weight.normal_(std=sharpness * hidden**-0.5)
    for layer in target.model.layers[kept:]:
        layer.self_attn.o_proj.weight.mul_(upper)
        layer.mlp.down_proj.weight.mul_(upper)
    target.to(dtype).save_pretrained(folder / "target")
    target.model.layers = target.model.layers[:kept]
    target.config.num_hidden_layers = kept
    target.save_pretrained(folder / "drafter")
    tokenizer = AutoTokenizer.from_pretrained(model_path("teacher"))
    for name in ("target", "drafter"):
        tokenizer.save_pretrained(folder / name)
    return str(folder / "target"), str(folder / "drafter")


def parameters(path: str) -> int:
    """Number of a saved Llama's parameters, the input embeddings not counted."""
    config = LlamaConfig(**json.loads((Path(path) / "config.json").read_text()))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    embedded = 0 if config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    return int(model.num_parameters()) - embedded
