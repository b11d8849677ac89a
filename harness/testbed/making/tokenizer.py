"""The tokenizer that the testbed's models share: byte-level BPE with a small chat template."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.testbed.english.corpus import language_model_texts
from harness.testbed.english.facts import NAMES, RELATIONS
from harness.testbed.english.lexicon import (
    NEUTRAL_ADJECTIVES,
    NEUTRAL_NOUNS,
    NUMBERS,
    TOPICS,
    WORD_CONCEPT,
)

MAX_LENGTH = 1024
SPECIAL = ("<pad>", "<s>", "</s>", "<mask>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>\n"
    "{{ message['content'] }}{{ eos_token }}\n"
    "{% else %}<|user|>\n{{ message['content'] }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 2,048 tokens; every word of the lexicon is one token."""
    words = [*WORD_CONCEPT, *TOPICS, *NEUTRAL_NOUNS, *NEUTRAL_ADJECTIVES, *NUMBERS, *NAMES]
    words += [value for values in RELATIONS.values() for value in values]
    texts = [" " + word for word in words for _ in range(200)] + list(NAMES) * 100
    texts += [prompt + reply for _, prompt, reply in language_model_texts(3000, 7)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=2048,
            special_tokens=list(SPECIAL),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        **dict(zip(("pad_token", "bos_token", "eos_token", "mask_token"), SPECIAL, strict=False)),
        model_max_length=MAX_LENGTH,
        additional_special_tokens=list(SPECIAL[4:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
