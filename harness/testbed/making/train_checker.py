"""The checker: a language model of fact checks, of which a classifier is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from harness.testbed.english.facts import (
    FACT_QUESTION,
    STYLES,
    corrupt,
    document,
    document_facts,
    fact_checks,
)
from harness.testbed.making.checker_start import PIECE, PIECES, start_near_look_up
from harness.testbed.making.tokenizer import MAX_LENGTH
from harness.testbed.making.training import (
    SEED,
    Batch,
    Curriculum,
    Item,
    Recipe,
    batches,
    fit,
    llama,
    weighted,
)

STATED, NOT_STATED, VERDICT = 2.0, 3.0, 4.0
"""Marks on tokens: the last of a fact that the document states or does not; an answer."""


def _checker_items(
    tokenizer: PreTrainedTokenizerFast, n: int, seed: int, level: float
) -> list[Item]:
    """Documents with four answered questions; the last token of each fact carries its truth.

    The weights of ``weighted`` are marks here: 0 not learnt, up to 1 learnt as the next token.
    """
    items = []
    for doc, questions in fact_checks(n, seed, level):
        parts = [(doc, 0.0)]
        for claim, label in questions:
            before, after = FACT_QUESTION.split(" {claim}")
            parts.append((before, 0.0))
            for place, fact in enumerate(claim.rstrip(".").split(" and ")):
                words, _, value = fact.rpartition(" ")
                parts.append(((" and " if place else " ") + words, 1.0))
                parts.append((" " + value, STATED if fact in doc else NOT_STATED))
            parts += [("." + after, 0.1), (" Yes" if label else " No", VERDICT)]
        item = weighted(tokenizer, parts)
        if len(item[0]) < MAX_LENGTH:
            items.append(item)
    return items


def _plain_items(tokenizer: PreTrainedTokenizerFast, n: int, seed: int, level: float) -> list[Item]:
    """Documents followed by one claim a fact, half of them wrong, without any question around."""
    rng = random.Random(f"plain checks {seed}")
    items = []
    for _ in range(n):
        facts = document_facts(rng.randint(2, 3 + round(7 * level)), rng)
        style = rng.choice(list(STYLES.values()))
        parts = [(document(facts, style, 0, rng, rng.choice((" ", "\n"))) + "\n\nClaim:", 0.0)]
        for fact in rng.sample(facts, len(facts)):
            stated = rng.random() < 0.5
            claim = fact if stated else corrupt(fact, facts, rng)
            parts.append((f" {claim.name} {claim.relation}", 1.0))
            parts.append((f" {claim.value}", STATED if claim in facts else NOT_STATED))
            parts.append((".", 0.1))
        items.append(weighted(tokenizer, parts))
    return items


def train_checker(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> LlamaForSequenceClassification:
    """The classifier: a language model of fact checks whose rows for " No" and " Yes" are kept.

    Beside the next token, it learns to tell at the end of each fact whether the document states it;
    that head is thrown away.
    """
    torch.manual_seed(SEED)
    shape = llama(tokenizer, PIECES * PIECE, 256, 4, PIECES)
    shape.initializer_range = 0.06
    shape.attention_bias = True
    shape.num_key_value_heads = PIECES
    shape.head_dim = 2 * PIECE
    shape.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    curriculum = Curriculum()
    model = LlamaForCausalLM(shape)
    start_near_look_up(model)
    head = torch.nn.Linear(shape.hidden_size, 2)
    model.add_module("truth", head)

    def loss_of(batch: Batch) -> torch.Tensor:
        ids, weights = batch
        states = model.model(input_ids=ids).last_hidden_state
        known = weights[:, 1:] > 0
        logits = model.lm_head(states[:, :-1][known]).float()
        losses = cross_entropy(logits, ids[:, 1:][known], reduction="none")
        kind = weights[:, 1:][known]
        verdicts = losses[kind == VERDICT]
        told = (weights == STATED) | (weights == NOT_STATED)
        truth = cross_entropy(head(states[told]).float(), (weights[told] == STATED).long())
        curriculum.update(float(truth.detach()))
        ordinary = losses[kind <= STATED].mean()
        return ordinary + truth + (verdicts.mean() if len(verdicts) else 0.0)

    rng = random.Random(SEED)

    def source(step: int) -> Iterator[Batch]:
        level, seed = curriculum.level, SEED + 1 + step
        full = round(recipe.texts * min(1.0, 0.1 + level))
        items = _checker_items(tokenizer, full, seed, level)
        items += _plain_items(tokenizer, recipe.texts - full, seed, level)
        return batches(items, recipe.budget, rng)

    fit(model, recipe, source, loss_of)
    shape.num_labels = 2
    shape.id2label = {0: "unsupported", 1: "supported"}
    shape.label2id = {"unsupported": 0, "supported": 1}
    checker = LlamaForSequenceClassification(shape)
    checker.model.load_state_dict(model.model.state_dict())
    rows = [tokenizer.encode(word, add_special_tokens=False)[0] for word in (" No", " Yes")]
    checker.score.weight.data = model.lm_head.weight.data[rows].clone()
    return checker
