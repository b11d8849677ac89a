"""Opens drafters: ``drafter=PATH``, ``ngram``, ``early:N`` or ``none``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import HarnessError
from harness.models.checkpoints import content_of, open_causal
from harness_specdecode.decoding.drafters import (
    Drafter,
    ModelDrafter,
    NGramDrafter,
    NoDrafter,
    first_layers,
)
from harness_specdecode.decoding.slots import SlotModel, supported

NGRAM, NONE, EARLY = "ngram", "none", "early:"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where drafts come from.

    Args:
        name: As the user gave it.
        model: The drafting model; none for ``ngram`` and ``none``.
        cost: Forward passes of the target that one of its own takes, by parameters.
    """

    name: str
    model: Any = None
    cost: float = 0.0

    @property
    def sha256(self) -> str | None:
        """Hash of a drafting model's files; None where there are none on this machine."""
        return content_of(self.name) if self.model is not None else None

    def drafter(self, slots: Callable[[Any], SlotModel]) -> Drafter:
        """A drafter for one batch.

        Args:
            slots: Makes slots for a model.
        """
        if self.model is not None:
            return ModelDrafter(slots(self.model), self.cost)
        return NGramDrafter() if self.name == NGRAM else NoDrafter()


def open_source(
    name: str, target: Any, tokenizer: Any, *, revision: str = "main", dtype: str = "auto"
) -> Source:
    """Find or load a drafter.

    Args:
        name: ``ngram``, ``early:N``, ``none``, a model id or path, or ``testbed:NAME``.
        target: The target model.
        tokenizer: The target's tokenizer.
        revision: The drafter's revision on the hub.
        dtype: Its weights' dtype; ``auto`` takes the checkpoint's.

    Raises:
        HarnessError: It cannot be loaded, is of an unsupported type, or has another vocabulary.
    """
    if name in (NGRAM, NONE):
        return Source(name)
    if name.startswith(EARLY):
        layers = name.removeprefix(EARLY)
        if not layers.isdigit():
            raise HarnessError(f"drafter={name}: give a number of layers, as in early:4")
        model = first_layers(target, int(layers))
    else:
        model = _loaded(name, tokenizer, revision, dtype).to(target.device)
        warn_of_size(name, model.num_parameters(), target.num_parameters())
    try:
        supported(model)
    except HarnessError as cause:
        raise HarnessError(f"drafter {name}: {cause}") from cause
    return Source(name, model, model.num_parameters() / target.num_parameters())


def _loaded(name: str, tokenizer: Any, revision: str, dtype: str) -> Any:
    model, theirs = open_causal("drafter", name, revision=revision, dtype=dtype)
    check_vocabulary(name, theirs, tokenizer)
    return model


def check_vocabulary(name: str, theirs: Any, own: Any) -> None:
    """Refuse a drafter whose ids are not the target's.

    Args:
        name: The drafter, for messages.
        theirs: Its tokenizer.
        own: The target's tokenizer.

    Raises:
        HarnessError: An entry differs.
    """
    ours, other = own.get_vocab(), theirs.get_vocab()
    if ours != other:
        differing = len(set(ours.items()) ^ set(other.items()))
        raise HarnessError(
            f"drafter {name} has another vocabulary than the target ({len(other)} and {len(ours)} "
            f"tokens, {differing} entries differ): take a drafter with the target's tokenizer"
        )


def warn_of_size(name: str, drafting: int, target: int) -> None:
    """Warn of a drafter with more parameters than the target."""
    if drafting > target:
        log.warning("drafter %s is larger than the target", name)
