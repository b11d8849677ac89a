"""Small fact checkers from random weights, with a tokenizer trained on their own data.

``scratch:3x128`` is a DeBERTa-v2 classifier of 3 layers and hidden size 128: heads of 32 numbers,
MLPs twice as wide, relative positions in 32 buckets, no dropout, and after the first layer the
convolution over ``KERNEL`` tokens that DeBERTa may have. The tokenizer has at most
``VOCABULARY`` pieces of words in small letters: a word is the same token at the beginning of a line
and within a claim. The weights start near a circuit that looks words up (``look_up``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import torch

from harness import HarnessError
from harness_factcg.checking.verdicts import prompt
from harness_factcg.training.look_up import LAYERS, start_near_look_up

PREFIX = "scratch:"
VOCABULARY = 8192
KERNEL = 3
LABELS = {0: "unsupported", 1: "supported"}

_HEAD = 32
_SPECIAL = ("<pad>", "<cls>", "<sep>", "<unk>")


def shape_of(name: str) -> tuple[int, int]:
    """Layers and hidden size of ``scratch:LAYERSxHIDDEN``.

    Raises:
        HarnessError: The shape is not of this form.
    """
    found = re.fullmatch(r"(\d{1,2})x(\d{1,4})", name.removeprefix(PREFIX))
    layers, hidden = (int(part) for part in found.groups()) if found else (0, 0)
    if layers < LAYERS or hidden < _HEAD or hidden % _HEAD:
        raise HarnessError(
            f"--model {name}: a shape is LAYERSxHIDDEN, at least {LAYERS} layers and a hidden size "
            f"that is a multiple of {_HEAD}, as in {PREFIX}3x128"
        )
    return layers, hidden


def build(name: str, texts: Iterable[str], max_length: int, seed: int) -> tuple[Any, Any]:
    """A fresh model and its tokenizer.

    Args:
        name: ``scratch:LAYERSxHIDDEN``.
        texts: What the tokenizer learns from.
        max_length: Tokens a prompt may have.
        seed: Of the weights.

    Raises:
        HarnessError: As ``shape_of``.
    """
    from transformers import DebertaV2Config

    with warnings.catch_warnings():  # the module scripts functions, of which torch warns
        warnings.simplefilter("ignore", DeprecationWarning)
        from transformers import DebertaV2ForSequenceClassification
    layers, hidden = shape_of(name)
    tokenizer = _tokenizer(texts, max_length)
    torch.manual_seed(seed)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // _HEAD,
        intermediate_size=2 * hidden,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pooler_dropout=0.0,
        pooler_hidden_size=hidden,
        max_position_embeddings=max_length,
        type_vocab_size=0,
        initializer_range=0.57 * hidden**-0.5,
        relative_attention=True,
        position_buckets=32,
        position_biased_input=False,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["c2p"],
        conv_kernel_size=KERNEL,
        conv_act="tanh",
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        num_labels=len(LABELS),
        id2label=LABELS,
        label2id={label: number for number, label in LABELS.items()},
    )
    model = DebertaV2ForSequenceClassification(config)
    _, closing = prompt("", "{claim}").split("{claim}")
    start_near_look_up(model, tokenizer(closing, add_special_tokens=False)["input_ids"])
    return model, tokenizer


def _tokenizer(texts: Iterable[str], max_length: int) -> Any:
    """Words in small letters, as BERT splits them, by byte pairs into pieces.

    BERT's own pieces would not do: their trainer numbers them in another order at each run.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token=_SPECIAL[3]))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=list(_SPECIAL),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>", special_tokens=[("<cls>", 1), ("<sep>", 2)]
    )
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        **names,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
