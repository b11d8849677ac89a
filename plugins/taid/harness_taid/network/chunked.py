r"""A loss from hidden states, in chunks of tokens, with memory that does not grow with N × V.

Every objective is a sum over tokens, L = (1/N) Σ_i ℓ(z_i, w_i, y_i), of student logits z, teacher
logits w and labels y. So a chunk of rows is turned into logits, losses and the gradient
g = ∂L/∂z, and of g only what the model needs is kept:

    ∂L/∂h_i = Wᵀ g_i        [N, hidden]
    ∂L/∂W   = Σ_i g_i h_iᵀ  [V, hidden]   (left out where the head is frozen)

The gradient is made while the loss is: one pass, and one chunk of logits at a time. Whatever the
objective, the sums are the ones that ``full_loss`` makes; only their order differs. In float32, at
4,096 tokens × 32,000 ids, a tensor of logits is 500 MiB, and the plain computation keeps five to
fifteen of them; a chunk of 128 tokens has 16 MiB.

    >>> loss = chunked_loss(objective, hidden, head, teacher, labels, normaliser=len(labels))
    >>> loss.value.backward()

Deviation: the head's gradient is summed over chunks in float32 and rounded once where the weight is
in a narrower type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness_taid.network.head import Head
from harness_taid.objectives.base import Objective

_CHUNK_BYTES = {"cpu": 1 << 24}  # one float32 tensor of logits: what few caches hold
_LARGE_CHUNK_BYTES = 1 << 27  # elsewhere
_FEWEST_ROWS = 64  # below, matrix products lose their speed
_SLICE = 1 << 14  # ids at a time, where a head's gradient is summed in a wider type


class TeacherRows(Protocol):
    """A teacher's logits of a range of tokens."""

    def rows(self, start: int, stop: int) -> Tensor:
        """Logits [stop − start, V]; no gradients."""


@dataclass(frozen=True)
class HiddenTeacher:
    """A teacher's hidden states [N, hidden] and its head: logits as they are asked for."""

    hidden: Tensor
    head: Head

    def rows(self, start: int, stop: int) -> Tensor:
        with torch.no_grad():
            return self.head.logits(self.hidden[start:stop])


@dataclass(frozen=True)
class Loss:
    """A batch's loss.

    Attributes:
        value: Its sum over tokens, divided by the normaliser; has gradients.
        parts: Sums over tokens, undivided, of what is logged beside it.
    """

    value: Tensor
    parts: dict[str, Tensor]


def full_loss(
    objective: Objective,
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    *,
    normaliser: float | Tensor,
    weights: Tensor | None = None,
) -> Loss:
    """The loss of logits [N, V] through plain autograd, all at once.

    Args:
        objective: What to compute.
        student: Logits [N, V].
        teacher: Logits [N, V], or None.
        labels: The tokens that came, [N].
        normaliser: Counted tokens of the global batch, over accumulation steps and processes.
        weights: [N, k], for an objective that needs them.
    """
    terms = objective.terms(student, teacher, labels, weights)
    return Loss(terms.losses.sum() / normaliser, terms.parts)


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """How many tokens at a time."""
    size = _CHUNK_BYTES.get(device.type, _LARGE_CHUNK_BYTES)
    return max(_FEWEST_ROWS, size // (4 * vocabulary))


def chunked_loss(
    objective: Objective,
    hidden: Tensor,
    head: Head,
    teacher: TeacherRows | None,
    labels: Tensor,
    *,
    normaliser: float | Tensor,
    chunk: int | None = None,
    weights: Tensor | None = None,
) -> Loss:
    """The loss of hidden states [N, hidden]; gradients of them, the head and the objective.

    Args:
        objective: What to compute.
        hidden: The student's last hidden states, already shifted, masked rows dropped.
        head: The student's head.
        teacher: The teacher's logits of the same N tokens, or None.
        labels: The tokens that came, [N].
        normaliser: Counted tokens of the global batch, over accumulation steps and processes.
        chunk: Tokens at a time; by default ``chunk_rows``.
        weights: [N, k], for an objective that needs them.
    """
    size = chunk or chunk_rows(head.vocabulary, hidden.device)
    job = _Job(
        objective,
        head.prepared(),
        teacher,
        labels,
        weights,
        normaliser,
        size,
        torch.is_grad_enabled(),
        {},
    )
    own = objective.parameters()
    value: Tensor = _Chunked.apply(job, hidden, head.weight, head.bias, *own)  # type: ignore[no-untyped-call]
    return Loss(value, job.parts)


@dataclass(frozen=True)
class _Job:
    """What does not change from chunk to chunk, and the parts' sums."""

    objective: Objective
    head: Head
    teacher: TeacherRows | None
    labels: Tensor
    weights: Tensor | None
    normaliser: float | Tensor
    size: int
    gradients: bool
    parts: dict[str, Tensor]

    def chunk(self, hidden: Tensor, start: int) -> tuple[Tensor, list[Tensor | None]]:
        """A chunk's loss and its gradients, of W h + b [n, rows] and of each parameter."""
        stop = start + len(hidden)
        linear = self.head.linear(hidden).float()
        teacher = None if self.teacher is None else self.teacher.rows(start, stop)
        weights = None if self.weights is None else self.weights[start:stop]
        with torch.set_grad_enabled(self.gradients):
            leaf = linear.requires_grad_(self.gradients)
            logits = self.head.finish(leaf)
            terms = self.objective.terms(logits, teacher, self.labels[start:stop], weights)
            loss = terms.losses.sum() / self.normaliser
        for name, part in terms.parts.items():
            self.parts[name] = self.parts[name] + part if name in self.parts else part
        del terms, teacher, logits
        if not self.gradients:
            return loss, []
        found = torch.autograd.grad(loss, [leaf, *self.objective.parameters()], allow_unused=True)
        return loss.detach(), list(found)


class _Gradients:
    """The gradients that grow from chunk to chunk: of hidden states, weight and bias."""

    def __init__(self, head: Head, like: Sequence[Tensor | None], needs: Sequence[bool]) -> None:
        self.head = head
        hidden, weight, bias = (
            tensor if tensor is not None and need else None
            for tensor, need in zip(like, needs, strict=True)
        )
        self.hidden = None if hidden is None else torch.empty_like(hidden)
        self.weight = None if weight is None else _zeros(weight)
        self.bias = None if bias is None else _zeros(bias)

    def add(self, start: int, hidden: Tensor, gradient: Tensor) -> None:
        """Take in a chunk: hidden states [n, hidden] from row ``start``, gradient [n, rows]."""
        if self.bias is not None:
            self.bias[: self.head.rows] += gradient.sum(0)
        weight = self.head.weight
        gradient = gradient.to(weight.dtype)
        if self.hidden is not None:
            self.hidden[start : start + len(hidden)] = gradient @ weight
        if self.weight is not None:
            _add_product(self.weight[: self.head.rows], gradient, hidden.to(weight.dtype))


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.float32)


def _add_product(total: Tensor, gradient: Tensor, hidden: Tensor) -> None:
    """Add gradientᵀ hidden, [rows, hidden], to a total in float32."""
    if gradient.dtype == total.dtype:
        total.addmm_(gradient.T, hidden)
        return
    for start in range(0, len(total), _SLICE):
        total[start : start + _SLICE] += gradient[:, start : start + _SLICE].T @ hidden


class _Chunked(torch.autograd.Function):
    """The loss of a job; its gradients are made in ``forward`` and handed over in ``backward``."""

    @staticmethod
    def forward(
        ctx: Any,
        job: _Job,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *parameters: nn.Parameter,
    ) -> Tensor:
        like = (hidden, weight, bias, *parameters)
        with torch.autocast(hidden.device.type, enabled=False):
            losses, found = _gathered(job, like, ctx.needs_input_grad[1:])
        ctx.found = [
            None if gradient is None or tensor is None else gradient.to(tensor.dtype)
            for gradient, tensor in zip(found, like, strict=True)
        ]
        return torch.stack(losses).sum() if losses else hidden.new_zeros((), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.found is None:
            raise RuntimeError("a chunked loss can be differentiated once: its gradients are given")
        found, ctx.found = ctx.found, None
        (output,) = outputs
        if output != 1:
            for gradient in found:
                if gradient is not None:
                    gradient.mul_(output)
        return None, *found


def _gathered(
    job: _Job, like: Sequence[Tensor | None], needs: Sequence[bool]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The chunks' losses, and the gradients of hidden, weight, bias and each parameter."""
    hidden = like[0]
    assert hidden is not None
    grown = _Gradients(job.head, like[:3], [job.gradients and need for need in needs[:3]])
    own = [torch.zeros_like(parameter) for parameter in job.objective.parameters()]
    losses = []
    for start in range(0, len(hidden), job.size):
        part = hidden[start : start + job.size]
        loss, found = job.chunk(part, start)
        losses.append(loss)
        if found:
            linear, *others = found
            assert linear is not None
            grown.add(start, part, linear)
            for total, other in zip(own, others, strict=True):
                if other is not None:
                    total.add_(other)
    return losses, [grown.hidden, grown.weight, grown.bias, *own]
