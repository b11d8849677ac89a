"""A fact checker's checkpoint from disk or hub, refused unless every weight of it was trained."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import torch

from harness import ArtefactError, HarnessError
from harness.artefacts.hub import commit_of
from harness.asking.special import TextEncoder, lacks_bos
from harness.models.checkpoints import (
    checkpoint_of,
    content_of,
    load_tokenizer,
    merged,
    not_loaded,
)
from harness_factcg.checking.families import Head, head_of

log = logging.getLogger(__name__)

_NO_LIMIT = 10**9  # tokens
_LOADERS: dict[Head, tuple[str, str]] = {
    "classifier": ("AutoModelForSequenceClassification", "sequence classifier"),
    "seq2seq": ("AutoModelForSeq2SeqLM", "encoder-decoder"),
    "causal": ("AutoModelForCausalLM", "language model"),
}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model; ``sha`` is its commit on the hub, or a SHA-256 of its files.

    ``add_bos_token`` is what was asked for; None leaves it to the tokenizer.
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str
    sha: str
    add_bos_token: bool | None = None

    @property
    def max_length(self) -> int | None:
        """Tokens the model can read; None where nothing limits it but memory.

        A table of learnt positions limits it hard. Models with relative positions (DeBERTa) have no
        limit; for all others the configuration's and the tokenizer's figure hold.
        """
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
                unused = 0 if module.padding_idx is None else module.padding_idx + 1
                return module.num_embeddings - unused
        config = self.model.config
        if getattr(config, "relative_attention", False):
            return None
        stated = (
            getattr(config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        return min(filter(None, map(_size, stated)), default=None)


def _size(value: object) -> int | None:
    """A number of tokens; None for what is none, or stands for no limit."""
    known = isinstance(value, (int, float)) and 0 < value < _NO_LIMIT
    return int(value) if known else None  # type: ignore[call-overload]  # it is a number


def load(
    pretrained: str,
    *,
    revision: str = "main",
    dtype: str = "auto",
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
    add_bos_token: bool | None = None,
) -> Checkpoint:
    """Load a checkpoint for scoring, with the head that its configuration names.

    Args:
        pretrained: Name on the hub, folder, ``testbed:checker``, or an adapter's folder.
        revision: Branch, tag or commit on the hub.
        dtype: ``auto`` (as stored) or the name of a torch number format.
        device: Where to put the model.
        trust_remote_code: Whether code from the hub may run.
        add_bos_token: Whether a beginning-of-sequence token is put before a text, as lm-eval's
            argument of that name; None leaves it to the tokenizer.

    Raises:
        HarnessError: The checkpoint cannot be read, or ``dtype`` is no number format.
        ArtefactError: The checkpoint lacks weights, as one without a classification head does.
    """
    import transformers

    number_format = getattr(torch, dtype, None)
    known = isinstance(number_format, torch.dtype) and number_format.is_floating_point
    if dtype != "auto" and not known:
        raise HarnessError(f"dtype={dtype}: use auto, float32, bfloat16 or float16")
    found = checkpoint_of(pretrained, revision)
    place = found.place
    options: dict[str, Any] = {"revision": found.revision, "trust_remote_code": trust_remote_code}
    try:
        config = transformers.AutoConfig.from_pretrained(place, **options)
        loader, kind = _LOADERS[head_of(config)]
        tokenizer = load_tokenizer(found.words, add_bos_token=add_bos_token, **options)
        model, info = getattr(transformers, loader).from_pretrained(
            place, config=config, dtype=dtype, output_loading_info=True, **options
        )
    except Exception as cause:  # transformers raises dozens of types
        raise HarnessError(not_loaded(pretrained, place, cause)) from cause
    _check(pretrained, kind, sorted(info["missing_keys"]), tokenizer)
    if found.adapter is not None:
        model = merged(model, found.adapter)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    sha = content_of(pretrained) or commit_of(found.place, found.revision) or ""
    plain = TextEncoder(tokenizer, add_bos_token).ids("A text.")
    if kind == _LOADERS["causal"][1] and (said := lacks_bos(config, tokenizer, plain)):
        log.warning("%s: %s: add_bos_token=True", pretrained, said)
    model = model.eval().to(device)
    return Checkpoint(model, tokenizer, pretrained, revision, sha, add_bos_token)


def _check(pretrained: str, kind: str, missing: list[str], tokenizer: Any) -> None:
    if missing:
        names = ", ".join(missing[:4]) + (" …" if len(missing) > 4 else "")
        raise ArtefactError(
            f"'{pretrained}' is no trained {kind}: its checkpoint lacks {names}; its answers would "
            "be random"
        )
    if not isinstance(tokenizer.model_max_length, (int, float)):
        raise ArtefactError(
            f"'{pretrained}' is damaged: model_max_length in its tokenizer_config.json is no number"
        )
    if not tokenizer.is_fast:
        raise ArtefactError(
            f"'{pretrained}' has no fast tokenizer (tokenizer.json): convert it with "
            "transformers' AutoTokenizer and save it into the folder"
        )


def accelerator() -> Any | None:
    """The process group of ``accelerate launch``; None in a single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from datetime import timedelta

    import accelerate

    patience = accelerate.InitProcessGroupKwargs(timeout=timedelta(weeks=1))
    return accelerate.Accelerator(kwargs_handlers=[patience])
