"""Tiny random models, built here: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from harness_factcg.checking.verdicts import prompt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from .made_up import NAMES, document

SPECIAL = ("<pad>", "<cls>", "<sep>", "<unk>")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few lines, with BERT's frame around a text."""
    core = byte_pairs()
    core.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>", special_tokens=[("<cls>", 1), ("<sep>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        cls_token="<cls>",
        sep_token="<sep>",
        unk_token="<unk>",
        eos_token="<sep>",
        clean_up_tokenization_spaces=False,
    )


def byte_pairs() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(
        [prompt(document(12, k), f"{n}.") for k, n in enumerate(NAMES)], trainer
    )
    return core


def bert_config(**options: Any) -> BertConfig:
    size: dict[str, Any] = {
        "vocab_size": 500,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    return BertConfig(**size | options, pad_token_id=0, initializer_range=0.4)


@pytest.fixture(scope="session")
def make_checker(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Callable[..., str]:
    """Save a random BERT classifier and give its folder."""

    def make(**options: Any) -> str:
        folder = tmp_path_factory.mktemp("checker")
        torch.manual_seed(3)
        BertForSequenceClassification(bert_config(**options)).eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="session")
def checker_path(make_checker: Callable[..., str]) -> str:
    return make_checker()


@pytest.fixture(scope="session")
def headless_path(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> str:
    """A checkpoint of the encoder alone."""
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(bert_config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A language model; its tokenizer puts nothing around a text."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=500,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=byte_pairs(), pad_token="<pad>", bos_token="<cls>", eos_token="<sep>"
    ).save_pretrained(folder)
    return str(folder)
