"""What a distillation starts from: a model, the teacher's form or blocks, an adapter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from harness import ArtefactError, HarnessError
from harness.models.checkpoints import (
    check_whole,
    checkpoint_of,
    load_tokenizer,
    not_loaded,
    place_of,
)
from harness_taid.network.pruning import LAYERS, layers_of, pruned

SCRATCH = "scratch:"
_WIDEST = 64
"""The feed-forward layers' size over the hidden size, at most; 3 to 8 are usual."""
_SHAPE = re.compile(r"(\d{1,3})x(\d{1,5})")


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter's rank and α; each linear layer but the head gets one."""

    rank: int
    alpha: float

    @classmethod
    def parse(cls, text: str) -> Lora | None:
        """``r,alpha``, such as ``16,32``; empty for none.

        Raises:
            HarnessError: It has another form.
        """
        if not text:
            return None
        found = re.fullmatch(r"(\d+)\s*,\s*(\d+(?:\.\d+)?)", text.strip())
        if not found or int(found[1]) < 1 or float(found[2]) <= 0:
            raise HarnessError(f"--lora {text}: give rank and alpha above 0, as in 16,32")
        return cls(int(found[1]), float(found[2]))


def check_name(name: str, *, teacher: str | None, captured: bool) -> None:
    """Refuse a start that cannot be, without loading anything heavy.

    Args:
        name: As the user gave it.
        teacher: The teacher; None where there is none.
        captured: Whether there is a capture of one.

    Raises:
        HarnessError: The shape has another form, or the path leads nowhere.
    """
    has_teacher = teacher is not None or captured
    if name.startswith(LAYERS):
        layers_of(name)
        if teacher is None:
            also = " beside --teacher-logits" if captured else ""
            raise HarnessError(f"--student {name} is made of a teacher: give --teacher{also}")
    elif name.startswith(SCRATCH):
        shape_of(name)
        if not has_teacher:
            raise HarnessError(
                f"--student {name} takes its form and its tokenizer from a teacher: give --teacher"
            )
    else:
        kind = name.partition(":")[0] + ":"
        if ":" in name and (near := get_close_matches(kind, (LAYERS, SCRATCH), n=1)):
            raise HarnessError(
                f"--student {name}: there is no such start; did you mean {near[0]}…?"
            )
        place_of(name)


def shape_of(name: str) -> tuple[int, int]:
    """Layers and hidden size of ``scratch:LAYERSxHIDDEN``.

    Raises:
        HarnessError: The shape is not of this form.
    """
    found = _SHAPE.fullmatch(name.removeprefix(SCRATCH))
    if not found or int(found[1]) < 1 or int(found[2]) < 1:
        raise HarnessError(
            f"--student {name}: a shape is LAYERSxHIDDEN, as in {SCRATCH}2x96 (random weights in "
            "the teacher's form)"
        )
    return int(found[1]), int(found[2])


def load_student(
    name: str,
    *,
    revision: str,
    seed: int,
    lora: Lora | None,
    like: tuple[Any, Any] | None,
    teacher: str = "",
    add_bos_token: bool | None = None,
) -> tuple[Any, Any]:
    """The student in float32, and its tokenizer.

    Args:
        name: Hub id, folder, ``testbed:student``, ``scratch:LAYERSxHIDDEN`` or ``layers:0,2,4``.
        revision: Its revision on the hub; for ``layers:`` the teacher's.
        seed: Of random weights and of the adapter.
        lora: An adapter to train in place of the weights.
        like: Configuration and tokenizer of the teacher, for random weights.
        teacher: Whose blocks are taken.
        add_bos_token: As for ``open_tokenizer``.

    Raises:
        HarnessError: It cannot be loaded.
        ArtefactError: It lacks weights.
    """
    import torch

    torch.manual_seed(seed)
    if name.startswith(SCRATCH):
        assert like is not None
        model, tokenizer = _from_scratch(name, *like)
    elif name.startswith(LAYERS):
        model, tokenizer = pruned(name, teacher, revision, add_bos_token)
    else:
        model, tokenizer = _pretrained(name, revision, add_bos_token)
    if lora is not None:
        model = _adapted(model, lora, name)
    return model, tokenizer


def open_tokenizer(name: str, revision: str = "main", *, add_bos_token: bool | None = None) -> Any:
    """A model's tokenizer.

    Args:
        name: Hub id or folder of the model.
        revision: Its revision on the hub.
        add_bos_token: Whether it puts a beginning-of-sequence token before a text; None leaves it
            to its files.

    Raises:
        HarnessError: It cannot be loaded.
    """
    found = checkpoint_of(name, revision)
    try:
        return load_tokenizer(found.words, revision=found.revision, add_bos_token=add_bos_token)
    except Exception as cause:  # transformers raises dozens of types
        raise HarnessError(f"no tokenizer: {not_loaded(name, found.words, cause)}") from cause


def _pretrained(name: str, revision: str, add_bos_token: bool | None) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    place = place_of(name)
    tokenizer = open_tokenizer(name, revision, add_bos_token=add_bos_token)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            place,
            revision=revision,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as cause:  # transformers raises dozens of types
        raise HarnessError(f"--student: {not_loaded(name, place, cause)}") from cause
    check_whole(f"--student {name}: its checkpoint", info)
    return model, tokenizer


def _from_scratch(name: str, config: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Random weights: the teacher's configuration with other sizes, heads as wide as they can be.

    The feed-forward layers keep their ratio to the hidden size, the heads their number, halved
    until it divides the hidden size.
    """
    import torch
    from transformers import AutoModelForCausalLM

    layers, hidden = shape_of(name)
    own = type(config).from_dict(config.to_dict())
    _check_form(name, config, tokenizer)
    ratio = config.num_attention_heads // config.num_key_value_heads
    heads = config.num_attention_heads
    while heads > ratio and (hidden % heads or (hidden // heads) % 2 or hidden // heads < 16):
        heads //= 2
    if hidden % heads or (hidden // heads) % 2 or heads % ratio:
        raise HarnessError(
            f"--student {name}: a hidden size of {hidden} does not divide into even heads; take a "
            f"multiple of {2 * ratio}"
        )
    own.num_hidden_layers, own.hidden_size = layers, hidden
    own.intermediate_size = round(hidden * config.intermediate_size / config.hidden_size)
    own.num_attention_heads, own.num_key_value_heads = heads, heads // ratio
    own.head_dim = hidden // heads
    if getattr(own, "layer_types", None):
        own.layer_types = own.layer_types[:layers]
    try:
        return AutoModelForCausalLM.from_config(own, dtype=torch.float32), tokenizer
    except Exception as cause:  # a configuration's own checks
        raise HarnessError(f"--student {name}: {cause}") from cause


def _check_form(name: str, config: Any, tokenizer: Any) -> None:
    """See that a teacher's configuration, which may be a stranger's, has sizes to scale."""
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    sizes: list[Any] = [getattr(config, size, None) for size in names]
    if any(size is None for size in sizes):
        raise HarnessError(
            f"--student {name}: a teacher of type {config.model_type} gives no form to scale; give "
            "a checkpoint"
        )
    whole = all(isinstance(size, int) and size > 0 for size in sizes)
    if not whole or not sizes[2] >= sizes[3] or sizes[1] > _WIDEST * sizes[0]:
        said = ", ".join(f"{size} {value}" for size, value in zip(names, sizes, strict=True))
        raise ArtefactError(f"--student {name}: the teacher's config.json is damaged: {said}")
    if not len(tokenizer) / 2 <= config.vocab_size <= 2 * len(tokenizer):
        raise ArtefactError(
            f"--student {name}: the teacher's config.json is damaged: vocab_size "
            f"{config.vocab_size}, and its tokenizer has {len(tokenizer)} tokens"
        )


def _adapted(model: Any, lora: Lora, name: str) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as cause:
        raise HarnessError(f"--lora on --student {name}: {cause}") from cause


def bare(model: Any) -> Any:
    """The transformers model, be there an adapter around it or not."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def hidden_states(model: Any, ids: Any, mask: Any, positions: Any) -> Any:
    """Last hidden states [rows, tokens, hidden] of a causal model, its head not run."""
    options = {} if positions is None else {"position_ids": positions}
    return (
        bare(model)
        .base_model(input_ids=ids, attention_mask=mask, use_cache=False, **options)
        .last_hidden_state
    )
