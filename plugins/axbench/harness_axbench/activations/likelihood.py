"""How likely a model finds responses when the outputs of a layer are moved.

Texts come from the corpus as cached outputs of the layer; the blocks above it run, and the language
head at the positions that predict a token of a response.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from harness_axbench.activations.corpus import Batch, Corpus


def moved(batch: Batch, change: Tensor) -> Tensor:
    """Outputs of the layer with something added where tokens count, in the model's dtype.

    Args:
        batch: The texts.
        change: What is added, in fp32. [batch, tokens or 1, hidden]
    """
    edited: Tensor = batch.hidden.float() + change * batch.counted.unsqueeze(-1)
    return edited.to(batch.hidden.dtype)


def surprise(corpus: Corpus, batch: Batch, hidden: Tensor) -> Tensor:
    """−log P of each text's response, given outputs of the layer.

    Args:
        corpus: Has the blocks above the layer.
        batch: The texts.
        hidden: Outputs of the layer. [batch, tokens, hidden]

    Returns:
        Nats, summed over the response's tokens, in fp32. [batch]
    """
    return summed(corpus.upper.logits(hidden, batch.mask, batch.predicts), batch)


def summed(logits: Tensor, batch: Batch) -> Tensor:
    """−log P of each text's response: nats, summed over its tokens, in fp32 [batch].

    Args:
        logits: Of the positions that predict the responses, row by row. [chosen, vocabulary]
        batch: The texts.
    """
    nats = functional.cross_entropy(logits.float(), batch.targets, reduction="none")
    owner = batch.predicts.nonzero()[:, 0]
    total: Tensor = torch.zeros(len(batch.ids), device=nats.device).index_add(0, owner, nats)
    return total


def spoken(corpus: Corpus) -> Corpus:
    """The same texts up to the end of the turn: without white space a template puts behind it.

    A model never writes it, so that its probability is arbitrary and would drown the concept.
    """
    blank: dict[int, bool] = {}
    texts = []
    for text in corpus.texts:
        end = len(text.ids)
        while end > text.response + 1 and _is_blank(int(text.ids[end - 1]), corpus, blank):
            end -= 1
        texts.append(replace(text, ids=text.ids[:end], hidden=text.hidden[:end]))
    return replace(corpus, texts=texts)


def _is_blank(token: int, corpus: Corpus, known: dict[int, bool]) -> bool:
    if token not in known:
        known[token] = str(corpus.reader.tokenizer.decode([token])).isspace()
    return known[token]
