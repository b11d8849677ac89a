"""Tiny random models, saved as other people's checkpoints are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3TextConfig, LlamaConfig

from harness.testbed import model_path

VOCABULARY = 2048
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PLAIN_CHAT = (
    "{% for m in messages %}{{ '<|user|>\n' if m['role'] == 'user' else '<|assistant|>\n' }}"
    "{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""A chat template that writes no beginning-of-sequence token."""


def words(*, adds_bos: bool = True, template: str | None = None) -> Any:
    """The testbed's tokenizer, which puts its BOS before a text or not."""
    found = AutoTokenizer.from_pretrained(model_path("teacher"), add_bos_token=adds_bos)
    found.chat_template = template
    return found


def llama(folder: Path, tokenizer: Any = None, **changes: Any) -> str:
    """A random Llama."""
    return saved(folder, LlamaConfig(**SIZES | changes), tokenizer)


def gemma(folder: Path, tokenizer: Any = None, **changes: Any) -> str:
    """A random Gemma 3, every second block of which sees a window."""
    own = {"sliding_window": 64, "sliding_window_pattern": 2}
    return saved(folder, Gemma3TextConfig(**SIZES | own | changes), tokenizer)


def saved(folder: Path, config: Any, tokenizer: Any = None, **options: Any) -> str:
    """Save a random model and its tokenizer; gives their folder."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **options)
    (words() if tokenizer is None else tokenizer).save_pretrained(folder)
    return str(folder)


def concept_data(folder: Path) -> Path:
    """AxBench's files, of two concepts."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    named = ("the garden", "the lamp")
    rows: list[Mapping[str, Any]] = []
    for number, text in enumerate((*named, "")):
        rows += [
            {
                "input": f"Tell me about window {k}.",
                "output": f"It is late {'and old ' * k}{text or 'here'}.",
                "output_concept": text or "EEEEE",
                "concept_genre": "text",
                "category": "positive" if text else "negative",
                "dataset_category": "instruction",
                "concept_id": number if text else -1,
            }
            for k in range(4)
        ]
    held = [row | {"concept_id": max(row["concept_id"], 0)} for row in rows]
    concepts = [{"concept_id": n, "concept": text} for n, text in enumerate(named)]
    tables = {"train_data": rows, "latent_eval_data": held, "metadata": concepts}
    tables["alpaca_eval"] = [{"instruction": "Describe a lamp."}]
    for stem, table in tables.items():
        lines = "".join(json.dumps(row) + "\n" for row in table)
        (folder / f"{stem}.jsonl").write_text(lines, encoding="utf-8")
    return folder
