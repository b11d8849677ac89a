"""Whether a dictionary was trained for the model that it is to steer."""

from __future__ import annotations

import logging
from typing import Any

from harness import HarnessError
from harness.artefacts.checksums import fingerprint
from harness.asking.special import TextEncoder
from harness.errors import shown
from harness_axbench.activations.reader import bos_of
from harness_axbench.steering.plan import Plan

log = logging.getLogger(__name__)


def check_reading(plan: Plan, tokenizer: Any, add_bos_token: bool | None) -> None:
    """Refuse a model that reads texts with another first token than the dictionary's training did.

    Args:
        plan: Names the dictionary; one whose manifest does not say how it was read is let pass.
        tokenizer: The model's.
        add_bos_token: lm-eval's argument.

    Raises:
        HarnessError: One of the two reads a beginning-of-sequence token, the other does not.
    """
    if said := read_otherwise(plan, tokenizer, add_bos_token):
        trained = plan.found.manifest["bos"]
        raise HarnessError(
            f"{said}: give --model_args add_bos_token={trained is not None}, or train it anew with "
            f"this tokenizer"
        )


def read_otherwise(plan: Plan, tokenizer: Any, add_bos_token: bool | None) -> str | None:
    """How the first tokens differ, if they do; arguments as for ``check_reading``."""
    manifest = plan.found.manifest
    if manifest["model"] is None or "bos" not in manifest:
        return None
    trained = manifest["bos"]
    chat = bool(manifest["chat"] and tokenizer.chat_template)
    own = bos_of(TextEncoder(tokenizer, add_bos_token), chat=chat)
    if own == trained:
        return None
    named = ["no such token" if one is None else f"token {one}" for one in (trained, own)]
    return (
        f"the dictionary {plan.found.folder} was trained on texts whose beginning-of-sequence "
        f"token was {named[0]}, and this model reads {named[1]}"
    )


def warn_of_other_weights(plan: Plan, name: str, path: str) -> None:
    """Warn where a dictionary was trained on other weights of the same shape."""
    trained = plan.found.manifest["model"]
    if trained is None or name == trained["name"]:
        return
    own = fingerprint(path)
    if own is None or own != trained.get("sha256"):
        log.warning(
            "the dictionary %s was trained on %s; %s has the same width and other weights",
            plan.found.folder,
            shown(trained["name"]),
            name,
        )
