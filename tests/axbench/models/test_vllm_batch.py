"""How the tokens of a vLLM step are edited, without an engine."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.dictionary.directions import Directions
from harness_axbench.models.vllm_batch import BatchEdits, Edit
from harness_axbench.models.vllm_worker import _parts, attach
from harness_axbench.steering.steering import KINDS
from torch import Tensor

from harness.errors import HarnessError
from harness.models.vllm_worker import Worker

WIDTH, CONCEPTS, REQUESTS, TOKENS = 6, 5, 8, 64


def directions(activation: str = "linear") -> Directions:
    generator = torch.Generator().manual_seed(2)
    tensors = {
        "weight": torch.randn(CONCEPTS, WIDTH, generator=generator),
        "encoder": torch.randn(CONCEPTS, WIDTH, generator=generator),
        "bias": torch.randn(CONCEPTS, generator=generator),
        "threshold": torch.rand(CONCEPTS, generator=generator),
    }
    return Directions.of(tensors, activation)


def batch(found: Directions, dtype: torch.dtype = torch.float32) -> BatchEdits:
    return BatchEdits(found, dtype=dtype, max_requests=REQUESTS, max_tokens=TOKENS)


def by_hand(found: Directions, edit: Edit | None, position: int, output: Tensor) -> Tensor:
    """What one token's hidden state moves by; scalars, after the definitions."""
    end = float("inf") if edit is None or edit.end is None else edit.end
    if edit is None or not edit.begin <= position < end:
        return torch.zeros(WIDTH)
    w, e = found.weight[edit.place], found.encoder[edit.place]
    bias, threshold = found.bias[edit.place], found.threshold[edit.place]
    z = float(output @ e + bias)
    z = {"linear": z, "relu": max(z, 0.0), "jumprelu": max(z, 0.0) if z > threshold else 0.0}[
        found.activation
    ]
    c = {
        "add": edit.scale,
        "clamp": edit.scale - z,
        "min_clamp": max(edit.scale, z) - z,
        "null_out": -max(float(output @ w + bias), 0.0) / float(w @ w),
    }[edit.intervention]
    return c * w


def random_edit(rng: random.Random, kinds: tuple[str, ...]) -> Edit | None:
    if rng.random() < 0.3:
        return None
    begin = rng.randrange(6)
    end = rng.choice([None, begin + rng.randrange(6)])
    return Edit(rng.randrange(CONCEPTS), rng.uniform(-3, 3), rng.choice(kinds), begin, end)


@pytest.mark.parametrize("activation", ["linear", "relu", "jumprelu"])
@pytest.mark.parametrize("kinds", [("add",), KINDS])
@pytest.mark.parametrize("residual", [True, False])
def test_every_token_by_its_own_request(
    activation: str, kinds: tuple[str, ...], residual: bool
) -> None:
    """Random steps, some requests coming and some going, against one token at a time."""
    rng = random.Random(f"{activation}{kinds}{residual}")
    found, torch_rng = directions(activation), torch.Generator().manual_seed(0)
    edits, edited_steps = batch(found), 0
    known: dict[str, Edit | None] = {}
    asked: list[str] = []

    def edit_of(request: str) -> Edit | None:
        asked.append(request)
        return known[request]

    for step in range(40):
        if step % 3 == 0:  # otherwise the same requests go on
            known = {
                f"{step}:{k}": random_edit(rng, kinds) for k in range(rng.randint(1, REQUESTS))
            }
        starts = np.array([rng.randrange(8) for _ in known], dtype=np.int32)
        counts = np.array([rng.choice([1, 1, 5]) for _ in known], dtype=np.int32)
        before = len(asked)
        active = edits.begin_step(list(known), starts, counts, edit_of)
        assert len(asked) - before == (len(known) if step % 3 == 0 else 0)
        tokens = [
            (edit, start + k)
            for edit, start, count in zip(known.values(), starts, counts, strict=True)
            for k in range(count)
        ]
        padded = len(tokens) + rng.choice([0, 3])
        hidden = torch.randn(padded, WIDTH, generator=torch_rng)
        rest = torch.randn(padded, WIDTH, generator=torch_rng) if residual else None
        output = hidden if rest is None else hidden + rest
        expected = hidden.clone()
        for place, (edit, position) in enumerate(tokens):
            expected[place] += by_hand(found, edit, position, output[place])
        assert active or torch.equal(expected, hidden)
        if active:
            edited_steps += 1
            torch.testing.assert_close(edits.apply(hidden, rest), expected, rtol=1e-4, atol=1e-4)
    assert edited_steps > 20


def test_the_worked_example() -> None:
    edits = batch(directions())
    known = {"A": Edit(0, 1.0, "add", 2, None), "B": None}
    starts, counts = np.array([0, 9]), np.array([4, 1])
    assert edits.begin_step(["A", "B"], starts, counts, known.__getitem__)
    assert edits._row_of_token[:5].tolist() == [0, 0, 1, 1, 0]
    assert not edits.begin_step(["B"], starts[1:], counts[1:], known.__getitem__)
    assert not edits.begin_step(["A"], starts[:1], np.array([2]), known.__getitem__)


def test_half_precision_adds_the_rounded_vector() -> None:
    """The product of scale and direction is rounded once, not its factors."""
    found = directions()
    edits = batch(found, torch.bfloat16)
    edit = Edit(3, 1.2345678, "add", 0, None)
    edits.begin_step(["A"], np.array([0]), np.array([2]), lambda _: edit)
    hidden = torch.zeros(2, WIDTH, dtype=torch.bfloat16)
    expected = (1.2345678 * found.weight[3]).to(torch.bfloat16)
    assert torch.equal(edits.apply(hidden, None), expected.expand(2, -1))


def test_an_edit_travels_in_a_requests_extra_args() -> None:
    edit = Edit(7, 0.1, "clamp", 3, None)
    assert Edit.of(dict([edit.message()])) == edit
    assert Edit.of({"other": 1}) is None
    assert Edit.of(None) is None


def test_forms_of_block_outputs() -> None:
    hidden, residual = torch.zeros(2, 3), torch.ones(2, 3)
    assert _parts(hidden) == (hidden, None)
    assert _parts((hidden, residual)) == (hidden, residual)
    assert _parts((hidden, None)) == (hidden, None)
    for unknown in ((hidden, torch.zeros(2, 1)), (hidden, residual, residual), {"hidden": hidden}):
        with pytest.raises(HarnessError, match="form of this model's block outputs"):
            _parts(unknown)


def test_workers_say_in_a_line_what_is_wrong(steering: Any, tmp_path: Any) -> None:
    names = ("execute_model", "input_batch", "requests", "max_num_reqs", "max_num_tokens")
    runner = SimpleNamespace(**dict.fromkeys(names))
    with pytest.raises(HarnessError, match=r"model runner V1; SimpleNamespace has no input_batch"):
        attach(SimpleNamespace(**dict.fromkeys(set(names) - {"input_batch"})), "", "", "")
    worker, load = Worker(), "harness_axbench.models.vllm_worker:load_steering"
    worker.model_runner = runner
    problem, _ = worker.harness_call(load, str(steering), "diffmean", "0" * 64)
    assert problem == f"{steering} is another dictionary on the workers' machine"
    problem, _ = worker.harness_call(load, str(tmp_path), "diffmean", "0" * 64)
    assert problem is not None
    assert "no dictionary.json there" in problem
