"""Detection and steering of the testbed's concepts by DiffMean, for the model card."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.testbed.assistants.judge import harmonic_mean, rate
from harness.testbed.english import corpus
from harness.testbed.english.lexicon import CONCEPTS
from harness.testbed.english.sampling import chat, encode, generate

FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0)


@torch.no_grad()
def token_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[corpus.Row],
    layer: int,
) -> list[torch.Tensor]:
    """Outputs of block ``layer`` a text, ``[tokens, hidden]``, without the shared prefix."""
    first, second = (chat(tokenizer, prompt) for prompt in ("a", "b"))
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in (first, second)]
    prefix = next(i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
    states = []
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        texts = [
            chat(tokenizer, str(row["input"]), str(row["output"])).removesuffix("</s>\n")
            for row in part
        ]
        batch = encode(tokenizer, texts, add_special_tokens=False)
        hidden = model(**batch, output_hidden_states=True).hidden_states[layer + 1]
        lengths = batch["attention_mask"].sum(1).tolist()
        states += [hidden[i, prefix:length] for i, length in enumerate(lengths)]
    return states


def auroc(positive: torch.Tensor, negative: torch.Tensor) -> float:
    """The share of (positive, negative) pairs in the right order; a tie counts half."""
    gap = positive[:, None] - negative[None, :]
    return float((gap > 0).float().mean() + 0.5 * (gap == 0).float().mean())


def diffmean(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, layer: int
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Unit directions ``[concepts, hidden]``, largest scores ``[concepts]``, and figures."""
    rows = corpus.concept_train()
    states = token_states(model, tokenizer, rows, layer)
    tests = corpus.concept_eval()
    test_states = token_states(model, tokenizer, tests, layer)
    directions, peaks, scores, hard = [], [], [], []
    for concept in CONCEPTS:
        inside = torch.cat(
            [s for s, row in zip(states, rows, strict=True) if row["concept_id"] == concept.id]
        )
        outside = torch.cat(
            [
                s
                for s, row in zip(states, rows, strict=True)
                if row["concept_id"] == -1 and row["concept_genre"] == concept.genre
            ]
        )
        w = inside.mean(0) - outside.mean(0)
        w = w / w.norm()
        own: dict[str, list[float]] = {"positive": [], "negative": [], "hard negative": []}
        for state, row in zip(test_states, tests, strict=True):
            if row["concept_id"] == concept.id:
                own[str(row["category"])].append(float((state @ w).max()))
        tensors = {key: torch.tensor(value) for key, value in own.items()}
        scores.append(auroc(tensors["positive"], tensors["negative"]))
        hard.append(auroc(tensors["positive"], tensors["hard negative"]))
        peaks.append(torch.stack([t.max() for t in tensors.values()]).max())
        directions.append(w)
    figures = {
        "auroc": statistics.mean(scores),
        "auroc_lowest": min(scores),
        "auroc_hard": statistics.mean(hard),
    }
    return torch.stack(directions), torch.stack(peaks), figures


@contextmanager
def steered(model: PreTrainedModel, layer: int, shift: torch.Tensor) -> Iterator[None]:
    """Add ``shift`` ``[batch, hidden]`` to the output of block ``layer`` at all positions."""

    def add(module: Any, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + shift[:, None], *output[1:])
        return output + shift[:, None]

    handle = model.model.layers[layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def steering(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layer: int,
    directions: torch.Tensor,
    peaks: torch.Tensor,
) -> dict[str, Any]:
    """AxBench's steering score: a factor chosen on five instructions, scored on five others."""
    prompts = [row["instruction"] for row in corpus.instructions()]
    table: dict[float, list[list[float]]] = {}
    for factor in (0.0, *FACTORS):
        asked = [prompts[(10 * c.id + i) % len(prompts)] for c in CONCEPTS for i in range(10)]
        shift = (factor * peaks[:, None] * directions).repeat_interleave(10, dim=0)
        with steered(model, layer, shift):
            answers = generate(model, tokenizer, asked)
        table[factor] = [
            [_score(c.description, asked[10 * c.id + i], answers[10 * c.id + i]) for i in range(10)]
            for c in CONCEPTS
        ]
    chosen = []
    for concept in CONCEPTS:
        sums = {factor: sum(table[factor][concept.id][:5]) for factor in FACTORS}
        chosen.append(next(factor for factor in FACTORS if sums[factor] == max(sums.values())))
    return {
        "steered": statistics.mean(
            statistics.mean(table[factor][c.id][5:])
            for factor, c in zip(chosen, CONCEPTS, strict=True)
        ),
        "by_factor": {
            factor: statistics.mean(map(statistics.mean, rows)) for factor, rows in table.items()
        },
        "chosen": chosen,
    }


def _score(concept: str, instruction: str, response: str) -> float:
    one, two, three = (
        rate(name, concept=concept, instruction=instruction, response=response)
        for name in ("concept", "relatedness", "fluency")
    )
    return harmonic_mean((one, two, three))
