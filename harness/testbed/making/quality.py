"""Measure the testbed's models: ``python -m harness.testbed.making.quality --models DIR``.

Prints the figures of the model card as JSON: perplexity, grammatical sentences, topics, refusals,
concept detection and steering by DiffMean, fact checking.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from harness.testbed.assistants.judge import grammatical_share, rate_relatedness
from harness.testbed.english import corpus
from harness.testbed.english.facts import STYLES
from harness.testbed.english.language import split_sentences
from harness.testbed.english.requests import is_refusal
from harness.testbed.english.sampling import chat, encode, generate
from harness.testbed.making.concept_quality import diffmean, steering

CHUNK_WORDS = 550


@torch.no_grad()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int = 200
) -> float:
    """Perplexity a token of the answers of ``count`` unseen instruction texts in chat form."""
    total, tokens = 0.0, 0
    for kind, prompt, reply in corpus.language_model_texts(count * 2, 10**6):
        if kind != "instruct":
            continue
        head = tokenizer.encode(chat(tokenizer, prompt), add_special_tokens=False)
        tail = tokenizer.encode(reply + "</s>", add_special_tokens=False)
        logits = model(torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(tail), reduction="sum")
        total, tokens = total + float(losses), tokens + len(tail)
    return float(torch.tensor(total / tokens).exp())


def generation_quality(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Shares of grammatical sentences, of answers on topic (rating 2), and of refusals."""
    prompts = [row["instruction"] for row in corpus.instructions()]
    answers = generate(model, tokenizer, prompts)
    rows = [row for row in corpus.refusal_requests() if row["restricted"] == 1]
    replies = generate(model, tokenizer, [str(row["instruction"]) for row in rows])
    related = [
        rate_relatedness(text, prompt) for prompt, text in zip(prompts, answers, strict=True)
    ]
    return {
        "grammatical_share": statistics.mean(map(grammatical_share, answers)),
        "on_topic_share": statistics.mean(value == 2 for value in related),
        "refusals_restricted": statistics.mean(map(is_refusal, replies)),
        "refusals_harmless": statistics.mean(map(is_refusal, answers)),
    }


def chunks(doc: str) -> list[str]:
    """Sentences packed greedily into chunks of at most 550 words, joined by line breaks."""
    packed: list[list[str]] = [[]]
    for sentence in split_sentences(doc):
        if packed[-1] and sum(len(s.split()) for s in [*packed[-1], sentence]) > CHUNK_WORDS:
            packed.append([])
        packed[-1].append(sentence)
    return ["\n".join(part) for part in packed]


@torch.no_grad()
def fact_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[corpus.Row]
) -> list[float]:
    """P(supported) of each row: the largest over the document's chunks."""
    asked = [
        (number, corpus.FACT_TEMPLATE.format(doc=chunk, claim=row["claim"]))
        for number, row in enumerate(rows)
        for chunk in chunks(str(row["doc"]))
    ]
    asked.sort(key=lambda pair: len(pair[1]))
    yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in (" Yes", " No"))
    best = [0.0] * len(rows)
    for start in range(0, len(asked), 16):
        part = asked[start : start + 16]
        batch = encode(tokenizer, [text for _, text in part])
        logits = model(**batch).logits
        if logits.ndim == 3:
            last = batch["attention_mask"].sum(1) - 1
            logits = logits[torch.arange(len(part)), last][:, [no, yes]]
        for (number, _), score in zip(part, logits.softmax(-1)[:, 1].tolist(), strict=True):
            best[number] = max(best[number], score)
    return best


def balanced_accuracy(
    rows: Sequence[corpus.Row], scores: Sequence[float], threshold: float = 0.5
) -> float:
    """The mean of the shares of supported and of unsupported rows on their side."""
    right = {
        label: [
            (score > threshold) == bool(label)
            for row, score in zip(rows, scores, strict=True)
            if row["label"] == label
        ]
        for label in (0, 1)
    }
    return (statistics.mean(right[0]) + statistics.mean(right[1])) / 2


def fact_checking(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: str = "test"
) -> dict[str, float]:
    """Balanced accuracy on each data set's claims at threshold 0.5, and their mean."""
    rows = corpus.claims(split)
    scores = fact_scores(model, tokenizer, rows)
    result = {}
    for name in STYLES:
        places = [i for i, row in enumerate(rows) if row["dataset"] == name]
        result[name] = balanced_accuracy([rows[i] for i in places], [scores[i] for i in places])
    return {"mean": statistics.mean(result.values()), **result}


def measure(name: str, folder: Path, layers: Sequence[int] = (1, 2)) -> dict[str, Any]:
    """All figures of one model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if name == "checker":
        checker = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").eval()
        return {"claims": fact_checking(checker, tokenizer)}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    figures: dict[str, Any] = {"perplexity": perplexity(model, tokenizer)}
    figures |= generation_quality(model, tokenizer)
    figures["claims"] = fact_checking(model, tokenizer)
    for layer in layers if name == "teacher" else ():
        directions, peaks, found = diffmean(model, tokenizer, layer)
        noise = torch.randn(directions.shape, generator=torch.Generator().manual_seed(0))
        random = noise / noise.norm(dim=-1, keepdim=True)
        figures[f"layer {layer}"] = {
            "detection": found,
            "diffmean": steering(model, tokenizer, layer, directions, peaks),
            "random": steering(model, tokenizer, layer, random, peaks),
        }
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures of the models found in a folder."""
    parser = argparse.ArgumentParser(description="Measure the testbed's models.")
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[1] / "models")
    parser.add_argument("--only", choices=("teacher", "student", "checker"))
    parser.add_argument("--layers", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args(argv)
    for name in (options.only,) if options.only else ("teacher", "student", "checker"):
        figures = measure(name, options.models / name, options.layers)
        sys.stdout.write(json.dumps({name: figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
