"""Student, teacher and objective as one: the loss of a forward pass.

The base model gives hidden states; those before counted tokens go through the head in chunks, so
that no logits of all tokens are ever held (``chunked``). The loss is made inside of ``forward``,
where the wrappers of accelerate (DDP, FSDP) have the weights at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness import HarnessError
from harness_taid.network.batching import Pass
from harness_taid.network.chunked import HiddenTeacher, TeacherRows, chunked_loss
from harness_taid.network.head import Head
from harness_taid.network.policy import policy_weights
from harness_taid.network.students import hidden_states
from harness_taid.objectives import Objective
from harness_taid.objectives.blended import Blended
from harness_taid.objectives.minillm import MiniLLM

TeacherOf = Callable[[Tensor, Head], TeacherRows]
"""The teacher's logits of a pass's tokens, given the student's hidden states of them and head."""


class Teacher(Protocol):
    """Where a teacher's distributions come from: a model, or what was kept of one on disk."""

    def of(self, read: Pass) -> TeacherOf:
        """Of the tokens that a pass counts."""


class Network(nn.Module):
    """A student with its objective.

    Args:
        student: A causal model, perhaps with an adapter.
        objective: Its parameters are trained too.
        vocabulary: Ids that student and teacher share.
    """

    def __init__(self, student: Any, objective: Objective, vocabulary: int) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.own = nn.ParameterList(objective.parameters())
        self.vocabulary = vocabulary
        self._no_split_modules = getattr(student, "_no_split_modules", None)  # what FSDP wraps
        Head.of(student, vocabulary=vocabulary)

    def forward(
        self,
        read: Pass,
        teacher: TeacherOf | None,
        normaliser: float,
        objective: Objective | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A pass's share of the loss, and the sums of what is logged beside it.

        Args:
            read: The tokens.
            teacher: Of ``Teacher.of``; None where none is needed.
            normaliser: Counted tokens of the global batch.
            objective: Another one than the network's, to measure by.
        """
        hidden = hidden_states(self.student, read.ids, read.mask, read.positions)
        hidden = hidden.flatten(0, 1)[read.predicting]
        head = Head.of(self.student, vocabulary=self.vocabulary)
        rows = None if teacher is None else teacher(hidden, head)
        chosen = objective or self.objective
        weights = None
        if chosen.needs_weights:
            assert rows is not None
            lengths = torch.tensor(read.counts, dtype=torch.long)
            weights = policy_weights(
                sampled_by(chosen), hidden, head, rows, labels=read.labels, lengths=lengths
            )
        loss = chunked_loss(
            chosen, hidden, head, rows, read.labels, normaliser=normaliser, weights=weights
        )
        return loss.value, loss.parts


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """A teacher in memory: frozen, in evaluation mode, run on the same tokens.

    Attributes:
        model: A causal model of transformers.
        vocabulary: Ids that student and teacher share.
    """

    model: Any
    vocabulary: int

    @torch.no_grad()
    def of(self, read: Pass) -> TeacherOf:
        hidden = hidden_states(self.model, read.ids, read.mask, read.positions)
        rows = hidden.flatten(0, 1)[read.predicting]
        head = Head.of(self.model, vocabulary=self.vocabulary)
        found = HiddenTeacher(rows, head)
        return lambda student, own: found


def sampled_by(objective: Objective) -> MiniLLM:
    """The objective that says how sequences are sampled, be the data's loss mixed in or not."""
    inner = objective.objective if isinstance(objective, Blended) else objective
    assert isinstance(inner, MiniLLM)
    return inner


@torch.no_grad()
def check_packing(model: Any, name: str) -> None:
    """See on a small example that a packed exchange reads nothing of its neighbours.

    Raises:
        HarnessError: Its hidden states are not those that it has alone.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    parts = [torch.tensor([[3 + (7 * n + k) % 40 for k in range(n)]]) for n in (5, 1, 9)]
    line = torch.cat(parts, dim=1).to(device)
    positions = torch.cat([torch.arange(part.shape[1]) for part in parts]).unsqueeze(0).to(device)
    together = hidden_states(model, line, None, positions).split([5, 1, 9], dim=1)
    for one, part in zip(together, parts, strict=True):
        own = hidden_states(model, part.to(device), torch.ones_like(part).to(device), None)
        error = float((own - one).float().norm() / own.float().norm())
        allowed = 1e-4 if own.dtype == torch.float32 else 3e-2
        if not error <= allowed:
            raise HarnessError(
                f"--packing: {name} ({type(model).__name__}) reads packed exchanges otherwise "
                "than each alone: leave --packing off"
            )
    model.train(training)
