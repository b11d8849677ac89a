"""Tiny random models with the testbed's tokenizer, and exchanges to train on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from harness_taid.training.options import Options
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness.testbed import model_path

VOCABULARY = 2048


def tokenizer():
    return AutoTokenizer.from_pretrained(model_path("teacher"))


def llama(folder: Path, *, layers=1, hidden=16, seed=0, rows=VOCABULARY, words=None, **options):
    """Save a random model and give its folder."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **{"tie_word_embeddings": True} | options,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (words or tokenizer()).save_pretrained(folder)
    return str(folder)


def exchanges(count, start=0):
    """Rows with prompts and responses of different lengths."""
    return [
        {
            "prompt": f"Tell me about the {'old ' * (k % 3)}window {k}.",
            "response": " ".join(["It is late.", "The lamp is near."][: 1 + k % 2] * (1 + k % 4)),
        }
        for k in range(start, start + count)
    ]


def write_jsonl(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def options(tmp_path: Path, models, data, **changed) -> Options:
    teacher, student = models
    values = {
        "out": tmp_path / "out",
        "teacher": teacher,
        "student": student,
        "data": data,
        "objective": "fkl",
        "epochs": 2,
        "batch_size": 8,
        "device_batch_size": 8,
        "dev_rows": 4,
        "rate": 1e-2,
        "device": "cpu",
    }
    return Options(**values | changed)


def lines(folder: Path):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
