"""Tiny random checkpoints of every head and architecture, saved to a folder."""

from __future__ import annotations

import string
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DebertaV2Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from .conftest import byte_pairs
from .made_up import CITIES, NAMES

WORDS = (*NAMES, *CITIES, "lives", "in", "near", "the", "old", "mill", "Yes", "No", "Claim", "1")


def unigrams(special: tuple[str, ...]) -> list[tuple[str, float]]:
    """A vocabulary of words behind a space, and of the printable signs."""
    words = [("▁" + word, -3.0) for word in WORDS]
    signs = [(sign, -8.0) for sign in string.ascii_letters + string.digits + string.punctuation]
    return [(token, 0.0) for token in special] + [("▁", -4.0), *words, *signs]


def saved(folder: Path, model: Any, tokenizer: Any) -> str:
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def deberta_tokenizer() -> DebertaV2Tokenizer:
    return DebertaV2Tokenizer(vocab=unigrams(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")))


def deberta(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script
        from transformers import DebertaV2Config, DebertaV2ForSequenceClassification
    torch.manual_seed(5)
    tokenizer = deberta_tokenizer()
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        relative_attention=True,
        position_buckets=16,
        max_position_embeddings=512,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        initializer_range=0.4,
    )
    return saved(folder, DebertaV2ForSequenceClassification(config), tokenizer)


def roberta(folder: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    torch.manual_seed(5)
    config = RobertaConfig(
        vocab_size=500,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=258,
        pad_token_id=0,
        initializer_range=0.4,
    )
    return saved(folder, RobertaForSequenceClassification(config), tokenizer)


def t5_tokenizer() -> T5Tokenizer:
    return T5Tokenizer(vocab=unigrams(("<pad>", "</s>", "<unk>")), extra_ids=0)


def t5(folder: Path) -> str:
    torch.manual_seed(5)
    tokenizer = t5_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        initializer_factor=1.5,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.05)  # scores between 0 and 1, not at the ends
    return saved(folder, model, tokenizer)


def causal_tokenizer() -> PreTrainedTokenizerFast:
    core = byte_pairs()
    core.add_tokens([" Yes", " No"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<cls>", eos_token="<sep>"
    )


def llama(folder: Path) -> str:
    torch.manual_seed(5)
    tokenizer = causal_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.4,
        pad_token_id=0,
    )
    return saved(folder, LlamaForCausalLM(config), tokenizer)


def gpt2(folder: Path) -> str:
    """Learnt positions: padding on the left must not shift them."""
    torch.manual_seed(5)
    tokenizer = causal_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        pad_token_id=0,
        initializer_range=0.4,
    )
    return saved(folder, GPT2LMHeadModel(config), tokenizer)
