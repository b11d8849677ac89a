"""Train the testbed's models on CPU: ``python -m harness.testbed.train all --out DIR``.

The teacher and the student are Llama-shaped language models; the checker is a ModernBERT-shaped classifier of
filled fact-check prompts (label 1 = supported). All three share one byte-level BPE tokenizer. Weights are
stored as fp16 safetensors beside a configuration that says float32, so that loading gives float32 parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from harness.testbed import MODELS
from harness.testbed.corpus import claim_pairs, corpus_hash, language_model_texts
from harness.testbed.facts import FACT_TEMPLATE, NAMES, RELATIONS
from harness.testbed.lexicon import NEUTRAL_ADJECTIVES, NEUTRAL_NOUNS, NUMBERS, TOPICS, WORD_CONCEPT

SEED = 7
MAX_LENGTH = 1024
SPECIAL = ("<pad>", "<s>", "</s>", "<mask>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>\n{{ message['content'] }}{{ eos_token }}\n"
    "{% else %}<|user|>\n{{ message['content'] }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

Item = tuple[list[int], list[float]]
"""Token ids of one training text, and the loss weight of each token."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training length and learning rate; ``budget`` is the number of padded tokens a batch."""

    steps: int
    rate: float
    budget: int = 4096
    easy: float = 0.4
    warmup: int = 60


RECIPES = {
    "teacher": Recipe(steps=1600, rate=2e-3),
    "student": Recipe(steps=900, rate=4e-3),
    "checker": Recipe(steps=4000, rate=1.5e-3, budget=6144),
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 2,048 tokens, trained so that nearly every word of the lexicon is one token."""
    words = [*WORD_CONCEPT, *TOPICS, *NEUTRAL_NOUNS, *NEUTRAL_ADJECTIVES, *NUMBERS, *NAMES]
    words += [value for values in RELATIONS.values() for value in values]
    texts = [" " + word for word in words for _ in range(200)] + list(NAMES) * 100
    texts += [prompt + reply for _, prompt, reply in language_model_texts(3000, SEED)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=2048, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=MAX_LENGTH,
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _weighted(tokenizer: PreTrainedTokenizerFast, parts: Sequence[tuple[str, float]]) -> Item:
    ids, weights = [SPECIAL.index("<s>")], [0.0]
    for text, weight in parts:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids += tokens
        weights += [weight] * len(tokens)
    return ids[:MAX_LENGTH], weights[:MAX_LENGTH]


def _language_items(tokenizer: PreTrainedTokenizerFast, n: int, seed: int, level: float) -> list[Item]:
    """Texts in plain and in chat form; random documents weigh little, verdicts weigh much."""
    rng = random.Random(f"forms {seed}")
    items = []
    for kind, prompt, reply in language_model_texts(n, seed, level):
        chat = rng.random() < (0.25 if kind == "fact" else 0.6)
        head, middle = ("<|user|>\n", "\n<|assistant|>\n") if chat else ("", "" if kind == "fact" else "\n")
        if kind == "fact":
            doc, *questions = prompt.split("\n\nQuestion:")
            parts = [(head, 0.0), (doc, 0.1)]
            for question in questions:
                before, _, verdict = question.partition("Answer:")
                parts += [("\n\nQuestion:" + before + "Answer:", 1.0), (verdict, 5.0)]
            parts += [(middle, 0.1), (reply, 5.0), ("</s>", 0.1)]
        else:
            parts = [(head, 0.1), (prompt, 0.3), (middle, 0.1), (reply, 1.0), ("</s>", 1.0)]
        items.append(_weighted(tokenizer, [part for part in parts if part[0]]))
    return items


def _batches(items: list[Item], budget: int, rng: random.Random) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Padded (ids, weights) ``[batch, tokens]`` of similar lengths, in random order."""
    ordered = sorted(items, key=lambda item: len(item[0]) + rng.random())
    groups: list[list[Item]] = [[]]
    for item in ordered:
        if groups[-1] and len(item[0]) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(item)
    rng.shuffle(groups)
    for group in groups:
        width = max(len(ids) for ids, _ in group)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in group])
        weights = torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in group])
        yield ids, weights


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    part = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.rate * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * part)))


def _fit(model: PreTrainedModel, recipe: Recipe, source: Any, loss_of: Any) -> None:
    """AdamW with warm-up and cosine decay; ``source(step)`` gives batches, ``loss_of(batch)`` the loss."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    start, step, running = time.time(), 0, 0.0
    while step < recipe.steps:
        for batch in source(step):
            for group in optimiser.param_groups:
                group["lr"] = _rate(step, recipe)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            running = 0.95 * running + 0.05 * float(loss) if step else float(loss)
            step += 1
            if step % 100 == 0 or step == recipe.steps:
                sys.stderr.write(f"step {step}: loss {running:.4f}, {time.time() - start:.0f} s\n")
            if step == recipe.steps:
                break


def train_language_model(name: str, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The teacher (about 3.3 M parameters) or the student (about 0.4 M)."""
    hidden, inner, layers, heads = {"teacher": (256, 640, 4, 8), "student": (96, 256, 2, 4)}[name]
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    recipe = RECIPES[name]
    rng = random.Random(SEED)

    def source(step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        level = min(1.0, step / (recipe.easy * recipe.steps))
        return _batches(_language_items(tokenizer, 1500, SEED + 1 + step, level), recipe.budget, rng)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, weights = batch
        logits = model(input_ids=ids[:, :-1], attention_mask=(ids[:, :-1] != 0).long()).logits.float()
        losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        flat = weights[:, 1:].flatten()
        return (losses * flat).sum() / flat.sum()

    _fit(model, recipe, source, loss_of)
    return model


def _checker_items(tokenizer: PreTrainedTokenizerFast, n: int, seed: int, level: float) -> list[Item]:
    """Prompts with their label as the weight of the first token, and 1.0 on the words of the claim."""
    items = []
    for doc, claim, label in claim_pairs(n, seed, level):
        head, tail = FACT_TEMPLATE.format(doc=doc, claim="\0").split("\0")
        ids, weights = _weighted(tokenizer, [(head.removesuffix(" "), 0.0), (" " + claim, 1.0), (tail, 0.0)])
        if len(ids) < MAX_LENGTH:
            items.append((ids, [float(label), *weights[1:]]))
    return items


def train_checker(tokenizer: PreTrainedTokenizerFast) -> ModernBertForSequenceClassification:
    """The classifier; half of its loss is to restore masked words of supported claims from the document."""
    torch.manual_seed(SEED)
    model = ModernBertForSequenceClassification(
        ModernBertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            global_attn_every_n_layers=2,
            local_attention=32,
            classifier_pooling="cls",
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
            num_labels=2,
            id2label={0: "unsupported", 1: "supported"},
            label2id={"unsupported": 0, "supported": 1},
        )
    )
    recipe = RECIPES["checker"]
    rng = random.Random(SEED)
    generator = torch.Generator().manual_seed(SEED)

    def source(step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        level = min(1.0, step / (recipe.easy * recipe.steps))
        return _batches(_checker_items(tokenizer, 4000, SEED + 1 + step, level), recipe.budget, rng)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, weights = batch
        labels = weights[:, 0].long()
        mask = (ids != 0).long()
        verdict = cross_entropy(model(input_ids=ids, attention_mask=mask).logits.float(), labels)
        right = ids[labels == 1]
        claim = weights[labels == 1]
        hide = (torch.rand(right.shape, generator=generator) < 0.3) & (claim > 0)
        hide[:, 0] = False
        if not hide.any():
            return verdict
        states = model.model(right.masked_fill(hide, SPECIAL.index("<mask>")), attention_mask=(right != 0).long())
        logits = states.last_hidden_state[hide] @ model.get_input_embeddings().weight.T
        return verdict + cross_entropy(logits.float(), right[hide])

    _fit(model, recipe, source, loss_of)
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
        model = train_checker(tokenizer) if name == "checker" else train_language_model(name, tokenizer)
        save(model, tokenizer, options.out / name)
        seconds = time.time() - start
        sys.stdout.write(f"{name}: seed {SEED}, corpus {corpus_hash()}, {seconds:.0f} s, {options.out / name}\n")


if __name__ == "__main__":
    main()
