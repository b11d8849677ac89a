"""Train the testbed's models on CPU: ``python -m harness.testbed.making.train all --out DIR``.

The teacher and the student are Llama-shaped language models; the checker is a Llama-shaped
classifier of filled fact-check prompts (label 1 = supported). All three share one byte-level BPE
tokenizer. Weights are stored as fp16 safetensors beside a configuration that says float32, so that
loading gives float32 parameters.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from harness.testbed import MODELS
from harness.testbed.english.corpus import corpus_hash, language_model_texts
from harness.testbed.making.tokenizer import build_tokenizer
from harness.testbed.making.train_checker import train_checker
from harness.testbed.making.training import SEED, Batch, Item, Recipe, batches, fit, llama, weighted

RECIPES = {
    "teacher": Recipe(steps=1140, rate=2e-3, more_steps=600),
    "student": Recipe(steps=530, rate=4e-3, more_steps=150, more_rate=2e-3),
    "checker": Recipe(steps=1160, rate=2e-3, more_steps=400, budget=2560, texts=200),
}


def _language_items(
    tokenizer: PreTrainedTokenizerFast, n: int, seed: int, level: float
) -> list[Item]:
    """Texts in plain and in chat form; random documents weigh little, verdicts weigh much."""
    rng = random.Random(f"forms {seed}")
    items = []
    for kind, prompt, reply in language_model_texts(n, seed, level):
        chat = rng.random() < (0.25 if kind == "fact" else 0.6)
        head, middle = (
            ("<|user|>\n", "\n<|assistant|>\n") if chat else ("", "" if kind == "fact" else "\n")
        )
        if kind == "fact":
            doc, *questions = prompt.split("\n\nQuestion:")
            parts = [(head, 0.0), (doc, 0.1)]
            for question in questions:
                before, _, verdict = question.partition("Answer:")
                parts += [("\n\nQuestion:" + before + "Answer:", 1.0), (verdict, 5.0)]
            parts += [(middle, 0.1), (reply, 5.0), ("</s>", 0.1)]
        else:
            parts = [(head, 0.1), (prompt, 0.3), (middle, 0.1), (reply, 1.0), ("</s>", 1.0)]
        items.append(weighted(tokenizer, [part for part in parts if part[0]]))
    return items


def train_language_model(name: str, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The teacher (about 3.3 M parameters) or the student (about 0.4 M)."""
    hidden, inner, layers, heads = {"teacher": (256, 640, 4, 8), "student": (96, 256, 2, 4)}[name]
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(llama(tokenizer, hidden, inner, layers, heads))

    recipe = RECIPES[name]
    rng = random.Random(SEED)

    def source(step: int) -> Iterator[Batch]:
        level = min(1.0, step / (0.4 * recipe.steps))
        items = _language_items(tokenizer, recipe.texts, SEED + 1 + step, level)
        return batches(items, recipe.budget, rng)

    def loss_of(batch: Batch) -> torch.Tensor:
        ids, weights = batch
        mask = (ids[:, :-1] != 0).long()
        logits = model(input_ids=ids[:, :-1], attention_mask=mask).logits.float()
        losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        flat = weights[:, 1:].flatten()
        return (losses * flat).sum() / flat.sum()

    fit(model, recipe, source, loss_of)
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write fp16 safetensors, a float32 configuration and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Train one model or all, and write each to ``DIR/<name>``."""
    parser = argparse.ArgumentParser(description="Train the testbed's models on CPU.")
    parser.add_argument("model", choices=(*MODELS, "all"))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    tokenizer = build_tokenizer()
    for name in MODELS if options.model == "all" else (options.model,):
        start = time.time()
        model = (
            train_checker(tokenizer, RECIPES["checker"])
            if name == "checker"
            else train_language_model(name, tokenizer)
        )
        save(model, tokenizer, options.out / name)
        seconds = time.time() - start
        sys.stdout.write(
            f"{name}: seed {SEED}, corpus {corpus_hash()}, {seconds:.0f} s, {options.out / name}\n"
        )


if __name__ == "__main__":
    main()
