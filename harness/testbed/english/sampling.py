"""Prompts, batches and sampled answers of the testbed's language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def chat(tokenizer: PreTrainedTokenizerBase, prompt: str, reply: str | None = None) -> str:
    """The exchange in the chat template; without a reply it ends where the answer begins."""
    messages = [{"role": "user", "content": prompt}]
    if reply is not None:
        messages.append({"role": "assistant", "content": reply})
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=reply is None
    )
    return text


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], side: str = "right", **options: Any
) -> dict[str, torch.Tensor]:
    """Padded ids and mask ``[batch, tokens]``."""
    batch = tokenizer(
        list(texts),
        return_tensors="pt",
        padding=True,
        padding_side=side,
        truncation=True,
        **options,
    )
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    seed: int = 0,
) -> list[str]:
    """Answers sampled at temperature 1.0, up to 96 tokens."""
    torch.manual_seed(seed)
    texts = [chat(tokenizer, prompt) for prompt in prompts]
    batch = encode(tokenizer, texts, "left", add_special_tokens=False)
    out = model.generate(**batch, max_new_tokens=96, do_sample=True, top_k=0, top_p=1.0)
    tail = out[:, batch["input_ids"].shape[1] :]
    return [str(text) for text in tokenizer.batch_decode(tail, skip_special_tokens=True)]
