"""A checker from model arguments, as given to ``--model hf-fact-checker`` and to the commands."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import torch

from harness import HarnessError
from harness.asking.store import Store
from harness.errors import meant
from harness_factcg.checking import families
from harness_factcg.checking.checker import Checker
from harness_factcg.checking.loading import load

log = logging.getLogger(__name__)

GPU_BATCH_TOKENS = 16384
CPU_BATCH_TOKENS = 4096
EAGER_CPU_BATCH_TOKENS = 1024
"""Of models that hold the scores of all pairs of tokens, as DeBERTa, and so outgrow the cache."""


def open_checker(
    pretrained: str | None = None,
    *,
    family: str | None = None,
    template: str | Path | None = None,
    chunk_size: int | None = None,
    chunk_unit: str | None = None,
    aggregation: str | None = None,
    no: object = None,
    yes: object = None,
    supported: int | None = None,
    max_length: int | None = None,
    overlong: str = "split",
    batch_tokens: int | None = None,
    dtype: str = "auto",
    device: str | torch.device | None = None,
    revision: str = "main",
    trust_remote_code: bool = False,
    add_bos_token: bool | None = None,
    response_cache: str | Path | None = None,
) -> Checker:
    """Load a checkpoint and set up its checker.

    Args:
        pretrained: Name on the hub, folder, or ``testbed:checker``: a sequence classifier, an
            encoder-decoder or a causal language model.
        family: ``factcg``, ``minicheck``, ``minicheck-7b`` or ``alignscore``; by default what the
            checkpoint tells.
        template: A text file with ``{document}``, ``{claim}`` and perhaps ``{sep}``.
        chunk_size: Of a chunk, in ``chunk_unit``.
        chunk_unit: ``words`` (word tokens), ``spaced`` (what white space separates) or
            ``tokens`` (of the model).
        aggregation: ``max``, or over the claim's sentences ``min`` or ``mean``.
        no: The answer of a model that is no classifier; one token.
        yes: Likewise.
        supported: Number of a classifier's label "supported", where the label names do not tell.
        max_length: Tokens a prompt may have; less if the model can read less.
        overlong: ``split`` halves a chunk that is too long for the model until it fits; ``cut``
            drops the end of the chunk and marks the answer as truncated.
        batch_tokens: Tokens a batch, padding included; by default 16,384 on a GPU, on a
            CPU 4,096, or 1,024 for models without fused attention.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16``, ``float16``.
        device: Torch device; by default the first GPU, else the CPU.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether code from the hub may run.
        add_bos_token: Whether a beginning-of-sequence token is put before a text, as for lm-eval's
            ``hf``; None leaves it to the tokenizer.
        response_cache: A JSON-lines file that keeps every score; a rerun computes what is missing.

    Raises:
        HarnessError: An argument is out of range, or the checkpoint cannot be used.
    """
    if pretrained is None:
        raise HarnessError(
            "hf-fact-checker needs --model_args pretrained=, a fact checker's checkpoint: a "
            "folder, a name on the hub, or testbed:checker"
        )
    if overlong not in ("split", "cut"):
        raise HarnessError(f"overlong={overlong}: use split or cut")
    if batch_tokens is not None and (type(batch_tokens) is not int or batch_tokens < 1):
        raise HarnessError(f"batch_tokens={batch_tokens}: a whole number above 0 is needed")
    options = families.options(
        template=template,
        chunk_size=chunk_size,
        chunk_unit=chunk_unit,
        aggregation=aggregation,
        max_length=max_length,
        no=no,
        yes=yes,
    )
    families.find(family or "factcg").override(**options)  # before a long load
    place = choose_device(device)
    checkpoint = load(
        pretrained,
        revision=str(revision),
        dtype=dtype,
        device=place,
        trust_remote_code=trust_remote_code,
        add_bos_token=add_bos_token,
    )
    config = checkpoint.model.config
    if family is None:
        chosen, reason = families.detect(config, pretrained)
    else:
        chosen, reason = families.find(family, families.head_of(config)), "given: family="
    log.info("%s is of the family %s: %s", pretrained, chosen.name, reason)
    return Checker(
        checkpoint,
        chosen.override(**options),
        overlong="cut" if overlong == "cut" else "split",
        batch_tokens=batch_tokens or _batch_tokens(config, place),
        supported=supported,
        store=Store(Path(response_cache).expanduser()) if response_cache else None,
        reason=reason,
    )


def _batch_tokens(config: Any, place: torch.device) -> int:
    if place.type != "cpu":
        return GPU_BATCH_TOKENS
    eager = config._attn_implementation == "eager"
    return EAGER_CPU_BATCH_TOKENS if eager else CPU_BATCH_TOKENS


ARGUMENTS = tuple(inspect.signature(open_checker).parameters)
"""The names of the model arguments."""


def choose_device(asked: str | torch.device | None) -> torch.device:
    """The device asked for; as in lm-eval's ``hf``, the CPU stands in for a GPU that is not there.

    lm-eval's command asks for the first GPU where the user asks for nothing.

    Raises:
        HarnessError: It is no device that torch knows.
    """
    if isinstance(asked, torch.device):
        return asked
    if (asked is None or asked.startswith("cuda")) and not torch.cuda.is_available():
        log.info("no CUDA device: running on the CPU")
        return torch.device("cpu")
    try:
        return torch.device(asked or "cuda")
    except RuntimeError:
        raise HarnessError(f"device={asked}: use cpu, cuda, cuda:1, mps, …") from None


def check_names(given: dict[str, Any]) -> None:
    """Refuse model arguments that there are not.

    Raises:
        HarnessError: Names them and those there are.
    """
    unknown = [name for name in given if name not in ARGUMENTS]
    if unknown:
        rest = meant(unknown[0], ARGUMENTS, "it takes")
        raise HarnessError(f"hf-fact-checker has no argument {', '.join(unknown)}; {rest}")
