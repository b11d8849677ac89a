"""Losses from hidden states in chunks against all logits at once, and what is never made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from harness_taid.network.chunked import (
    HiddenTeacher,
    Loss,
    chunk_rows,
    chunked_loss,
    full_loss,
)
from harness_taid.network.head import Head, aligned
from harness_taid.network.policy import label_log_probabilities, policy_weights
from harness_taid.objectives import NAMES, Objective, build
from harness_taid.objectives.ctkd import CTKD
from harness_taid.objectives.minillm import MiniLLM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REST: dict[str, Any] = {"deadline": None, "derandomize": True}


@dataclass
class Batch:
    hidden: Tensor
    head: Head
    teacher: HiddenTeacher
    labels: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls, n: int, vocabulary: int, seed: int = 0, hidden: int = 6, bias: bool = True
    ) -> Batch:
        random = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random)

        head = Head(
            (normal(vocabulary, hidden) / 2).requires_grad_(),
            vocabulary,
            normal(vocabulary).requires_grad_() if bias else None,
        )
        teacher = HiddenTeacher(normal(n, 9), Head(normal(vocabulary, 9) / 2, vocabulary))
        labels = torch.randint(vocabulary, (n,), generator=random)
        states = normal(n, hidden).requires_grad_()
        return cls(states, head, teacher, labels, torch.rand(n, 2, generator=random))

    def full(self, objective: Objective, normaliser: float = 1.0) -> Loss:
        return full_loss(
            objective,
            self.head.logits(self.hidden),
            self.teacher.rows(0, len(self.hidden)),
            self.labels,
            normaliser=normaliser,
            weights=self.weights,
        )

    def chunked(self, objective: Objective, chunk: int, normaliser: float = 1.0) -> Loss:
        return chunked_loss(
            objective,
            self.hidden,
            self.head,
            self.teacher,
            self.labels,
            normaliser=normaliser,
            chunk=chunk,
            weights=self.weights,
        )

    def learnt(self, objective: Objective) -> list[Tensor]:
        found = [self.hidden, self.head.weight, self.head.bias, *objective.parameters()]
        return [tensor for tensor in found if tensor is not None and tensor.requires_grad]

    def gradients(self, loss: Loss, objective: Objective) -> list[Tensor]:
        return list(torch.autograd.grad(loss.value, self.learnt(objective)))


def made(name: str, **options: Any) -> Objective:
    objective = build(name, options, total_steps=10)
    if isinstance(objective, CTKD):
        objective.step = 40  # where its parameter has a gradient
    return objective


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp_min(1e-30))


def same(batch: Batch, objective: Objective, chunk: int, normaliser: float = 1.0) -> None:
    full, chunked = batch.full(objective, normaliser), batch.chunked(objective, chunk, normaliser)
    assert float(chunked.value.detach()) == pytest.approx(float(full.value.detach()), rel=1e-6)
    assert full.parts.keys() == chunked.parts.keys()
    for name, part in full.parts.items():
        assert float(chunked.parts[name]) == pytest.approx(float(part), rel=1e-5, abs=1e-5)
    expected = batch.gradients(full, objective)
    for found, wanted in zip(batch.gradients(chunked, objective), expected, strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert apart(found, wanted) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, **REST)
@given(data=st.data())
def test_loss_and_gradients_are_those_of_all_logits(name: str, data: st.DataObject) -> None:
    n, vocabulary = data.draw(st.integers(1, 40)), data.draw(st.integers(8, 50))
    batch = Batch.of(n, vocabulary, data.draw(st.integers(0, 99)), bias=data.draw(st.booleans()))
    same(batch, made(name), data.draw(st.integers(1, n + 2)), data.draw(st.floats(0.5, 1e4)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_so_they_are_with_a_cap_a_scale_and_another_vocabulary(name: str, compat: str) -> None:
    batch = Batch.of(23, 40)
    objective = build(name, {}, total_steps=10, compat=compat)
    for vocabulary in (33, 44):  # surplus rows, and ids without a row
        if vocabulary == 44 and (name, compat) == ("js", "reference"):
            continue  # is NaN there: its defect
        batch.head = replace(batch.head, vocabulary=vocabulary, softcap=3.0, scale=0.5)
        teacher = replace(batch.teacher.head, vocabulary=vocabulary)
        batch.teacher = replace(batch.teacher, head=teacher)
        batch.labels = batch.labels.clamp(max=32)
        same(batch, objective, 5)
        _, weight, bias, *_ = batch.gradients(batch.chunked(objective, 5), objective)
        assert not weight[vocabulary:].any() and not bias[vocabulary:].any()


@pytest.mark.parametrize("name", ["taid", "adaptive_kl", "ctkd"])
def test_so_they_are_with_a_ratio(name: str) -> None:
    same(Batch.of(23, 40), made(name, ratio=0.6), 5)


class Largest(TorchDispatchMode):
    """The most elements that a tensor made meanwhile has."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self.elements = max(self.elements, leaf.numel())
        return found


@pytest.mark.parametrize("name", NAMES)
def test_no_tensor_of_tokens_times_vocabulary_is_made(name: str) -> None:
    batch, objective = Batch.of(120, 200), made(name)
    with Largest() as chunked:
        batch.chunked(objective, 8).value.backward()
    with Largest() as full:
        batch.full(objective).value.backward()
    assert full.elements >= 120 * 200
    assert chunked.elements <= max(8 * 200, 9 * 200) < 120 * 200 / 8  # a chunk, a head


def test_accumulation_gives_the_loss_of_one_large_batch() -> None:
    """Parts of unequal length, each divided by the whole's tokens: the sum is the whole's loss."""
    whole, objective = Batch.of(30, 20), made("taid")
    expected = whole.gradients(whole.chunked(objective, 7, 30), objective)
    total = [torch.zeros_like(gradient) for gradient in expected]
    value = 0.0
    for rows in (slice(0, 4), slice(4, 4), slice(4, 25), slice(25, 30)):
        teacher = replace(whole.teacher, hidden=whole.teacher.hidden[rows])
        part = replace_rows(whole, rows, teacher)
        loss = part.chunked(objective, 7, 30)
        value += float(loss.value.detach())
        hidden, *others = part.gradients(loss, objective)
        total[0][rows] = hidden
        for so_far, other in zip(total[1:], others, strict=True):
            so_far.add_(other)
    assert value == pytest.approx(float(whole.chunked(objective, 30, 30).value.detach()), rel=1e-6)
    assert all(apart(found, wanted) < 1e-6 for found, wanted in zip(total, expected, strict=True))


def replace_rows(batch: Batch, rows: slice, teacher: HiddenTeacher) -> Batch:
    hidden = batch.hidden.detach()[rows].clone().requires_grad_()
    return Batch(hidden, batch.head, teacher, batch.labels[rows], batch.weights[rows])


@pytest.mark.parametrize("name", NAMES)
def test_no_counted_token_gives_zero_and_zero_gradients(name: str) -> None:
    batch, objective = Batch.of(0, 20), made(name)
    loss = batch.chunked(objective, 4)
    assert float(loss.value.detach()) == 0
    assert not any(gradient.any() for gradient in batch.gradients(loss, objective))


def test_a_frozen_head_has_no_gradient_and_costs_none() -> None:
    batch, objective = Batch.of(90, 30, bias=False), made("fkl")
    (expected,) = torch.autograd.grad(batch.full(objective).value, batch.hidden)
    batch.head.weight.requires_grad_(False)
    with Largest() as largest:
        batch.chunked(objective, 2).value.backward()
    assert batch.head.weight.grad is None and batch.hidden.grad is not None
    assert apart(batch.hidden.grad, expected) < 1e-6
    assert largest.elements == batch.hidden.numel()


def test_a_tied_weight_gets_both_gradients() -> None:
    batch, objective = Batch.of(12, 30, bias=False), made("rkl")
    weight, ids = batch.head.weight, torch.arange(12)
    expected, found = (
        torch.autograd.grad(loss(replace_hidden(batch, weight[ids])).value, weight)[0]
        for loss in (lambda b: b.full(objective), lambda b: b.chunked(objective, 5))
    )
    assert apart(found, expected) < 1e-6


def replace_hidden(batch: Batch, hidden: Tensor) -> Batch:
    return Batch(hidden, batch.head, batch.teacher, batch.labels, batch.weights)


def test_an_outer_factor_reaches_the_gradients() -> None:
    batch, objective = Batch.of(12, 30), made("taid")
    expected = batch.gradients(batch.full(objective), objective)
    loss = batch.chunked(objective, 5)
    found = torch.autograd.grad(3 * loss.value, batch.learnt(objective))
    assert all(apart(a, 3 * b) < 1e-6 for a, b in zip(found, expected, strict=True))


def test_gradients_are_given_once() -> None:
    batch = Batch.of(12, 30)
    loss = batch.chunked(made("fkl"), 5)
    loss.value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        loss.value.backward()


@pytest.mark.parametrize("name", NAMES)
def test_without_gradients_there_is_the_loss_alone(name: str) -> None:
    batch, objective = Batch.of(40, 30), made(name)
    expected = float(batch.full(objective).value.detach())
    with torch.no_grad(), Largest() as largest:
        loss = batch.chunked(objective, 3)
    assert not loss.value.requires_grad
    assert float(loss.value) == pytest.approx(expected, rel=1e-6)
    assert largest.elements <= batch.teacher.head.weight.numel() < 40 * 30


@pytest.mark.parametrize("name", ["taid", "js"])
def test_bfloat16_weights_have_gradients_summed_in_float32(name: str) -> None:
    exact, objective = Batch.of(300, 40, bias=False), made(name)
    expected = exact.gradients(exact.full(objective), objective)
    narrow = replace_hidden(exact, exact.hidden.detach().bfloat16().requires_grad_())
    narrow.head = Head(exact.head.weight.detach().bfloat16().requires_grad_(), 40)
    found = narrow.gradients(narrow.chunked(objective, 2), objective)
    for gradient, wanted in zip(found, expected, strict=True):
        assert gradient.dtype == torch.bfloat16
        assert apart(gradient.float(), wanted) < 0.02


def test_autocast_computes_in_its_own_type() -> None:
    batch, objective = Batch.of(40, 30), made("fkl")
    expected = batch.gradients(batch.full(objective), objective)
    with torch.autocast("cpu", torch.bfloat16):
        assert batch.head.prepared().weight.dtype == torch.bfloat16
        loss = batch.chunked(objective, 7)
    found = batch.gradients(loss, objective)
    for gradient, wanted in zip(found, expected, strict=True):
        assert gradient.dtype == torch.float32
        assert 1e-6 < apart(gradient, wanted) < 0.02


@dataclass(frozen=True)
class LogitsTeacher:
    """A teacher's logits [N, rows], and how many ids of them are real."""

    logits: torch.Tensor
    vocabulary: int

    def rows(self, start: int, stop: int) -> torch.Tensor:
        return aligned(self.logits[start:stop], self.vocabulary)


def test_a_teacher_of_logits_is_cut_or_widened() -> None:
    batch, objective = Batch.of(11, 30), made("taid")
    logits = batch.teacher.rows(0, 11)
    for rows, vocabulary in ((30, 25), (30, 30), (20, 30)):
        batch.head = replace(batch.head, vocabulary=vocabulary)
        batch.labels = batch.labels.clamp(max=19)
        stored = LogitsTeacher(logits[:, :rows], vocabulary)
        found = chunked_loss(
            objective, batch.hidden, batch.head, stored, batch.labels, normaliser=11, chunk=4
        )
        whole = full_loss(
            objective,
            batch.head.logits(batch.hidden),
            aligned(logits[:, :rows], vocabulary),
            batch.labels,
            normaliser=11,
        )
        assert float(found.value.detach()) == pytest.approx(float(whole.value.detach()), rel=1e-6)
        assert found.value.isfinite()


def test_a_missing_id_has_no_probability() -> None:
    """Not that of a logit of 0, which would be a large one here."""
    head = Head(-torch.ones(3, 2), 5)
    logits = head.logits(torch.full((1, 2), 4.0))
    assert logits.tolist() == [[-8, -8, -8, -torch.inf, -torch.inf]]
    assert logits.softmax(-1).tolist()[0] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_chunks_are_of_a_few_megabytes() -> None:
    cpu = torch.device("cpu")
    assert chunk_rows(32_000, cpu) == 131
    assert chunk_rows(128_000, cpu) == 64
    assert chunk_rows(128_000, torch.device("cuda")) == 262


def sequences(lengths: list[int]) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


def test_minillms_two_passes() -> None:
    batch, objective, lengths = Batch.of(14, 20), made("minillm"), [5, 0, 8, 1]
    assert isinstance(objective, MiniLLM)
    z = batch.head.logits(batch.hidden).detach().double().log_softmax(-1)
    w = batch.teacher.rows(0, 14).double().log_softmax(-1)
    log_q, log_p = (log[range(14), batch.labels] for log in (z, w))
    chosen = label_log_probabilities(batch.teacher, batch.labels, chunk=4)
    torch.testing.assert_close(chosen.double(), log_p, rtol=1e-6, atol=1e-6)
    with Largest() as largest:
        weights = policy_weights(
            objective,
            batch.hidden,
            batch.head,
            batch.teacher,
            labels=batch.labels,
            lengths=torch.tensor(lengths),
            chunk=3,
        )
    assert not weights.requires_grad and largest.elements < 14 * 20
    for rows in sequences(lengths):
        rewards = (log_p - log_q)[rows].tolist()
        for t in range(len(rewards)):
            following = rewards[t + 1 :]
            mean = sum(following) / len(following) if following else 0.0
            assert float(weights[rows][t, 1]) == pytest.approx(mean, rel=1e-5, abs=1e-5)
    q, p = log_q.exp(), log_p.exp()
    torch.testing.assert_close(weights[:, 0].double(), q / (0.2 * p + 0.8 * q), rtol=1e-5, atol=0)
