"""What an objective is: a sum over tokens of a function of that token's two rows of logits.

This is what makes a loss computed in chunks of tokens exact. The losses here are sums' terms: who
calls divides by the number of counted tokens of the whole batch (``chunked.full_loss``,
``chunked.chunked_loss``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from harness import ArtefactError


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an objective knows of the training it is in.

    Attributes:
        total_steps: Optimiser steps from the first to the last.
        steps_per_epoch: Optimiser steps in a pass over the data.
        reference: Whether the reference code's defects are wanted.
    """

    total_steps: int
    steps_per_epoch: int
    reference: bool = False


@dataclass(frozen=True)
class Terms:
    """The terms of some tokens.

    Attributes:
        losses: [n] float32.
        parts: Sums over the n tokens of what is logged beside the loss; no gradients.
    """

    losses: Tensor
    parts: dict[str, Tensor]


class Objective(ABC):
    """A training objective; a subclass's keyword arguments are its settings.

    Attributes:
        name: What the command line calls it.
        needs_teacher: Whether ``teacher`` may not be None.
        needs_weights: Whether ``weights`` may not be None (see ``minillm``).
        counts_masked: Whether the loss is divided by all positions, masked ones included.
    """

    name: str
    needs_teacher: bool = True
    needs_weights: bool = False
    counts_masked: bool = False

    def __init__(self, context: Context) -> None:
        self.context = context

    @abstractmethod
    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        """The losses of n tokens and the sums that are logged.

        Args:
            student: Logits [n, V], already shifted, masked rows dropped.
            teacher: Logits [n, V], or None where no teacher is needed.
            labels: The tokens that came, [n].
            weights: [n, k] numbers of the n tokens, for objectives that need them.
        """

    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser trains beside the student."""
        return []

    def after_step(
        self, loss: float, step: int, parts: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Move the objective's schedule on after an optimiser step; returns what is to be logged.

        Args:
            loss: The mean over the global batch's tokens that the step was taken with.
            step: How many steps have been taken, from 1.
            parts: The means of the logged parts over the same tokens.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave.

        Raises:
            ArtefactError: It is the state of another objective.
        """
        if set(state) != set(self.state_dict()):
            raise ArtefactError(
                f"objective {self.name}: the checkpoint's state has {', '.join(state) or 'nothing'}"
                f"; needed is {', '.join(self.state_dict()) or 'nothing'}"
            )
