"""How the tokens of a vLLM step are edited, without an engine."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.dictionary.directions import ACTIVATIONS, Directions
from harness_axbench.engine.edits import KEY, MOST, Edit, edits_in, message_of, salt_of
from harness_axbench.engine.tables import Tables
from harness_axbench.steering.steering import KINDS
from torch import Tensor

from harness.errors import HarnessError

pytestmark = pytest.mark.long

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


def tables(found: Directions, dtype: torch.dtype = torch.float32) -> Tables:
    made = Tables(
        CONCEPTS,
        found.activation,
        positions=torch.zeros(TOKENS, dtype=torch.int64),
        width=WIDTH,
        dtype=dtype,
        max_requests=REQUESTS,
    )
    made.fill(found)
    return made


def asks(edits: tuple[Edit, ...]) -> Any:
    """A request's sampling parameters."""
    return SimpleNamespace(extra_args=dict([message_of(edits)]) if edits else None)


def by_hand(found: Directions, edits: tuple[Edit, ...], position: int, output: Tensor) -> Tensor:
    """What one token's hidden state moves by; scalars, after the definitions."""
    moved = torch.zeros(WIDTH)
    for edit in edits:
        end = float("inf") if edit.end is None else edit.end
        if not edit.begin <= position < end:
            continue
        state = output + moved
        w, e = found.weight[edit.place], found.encoder[edit.place]
        bias, threshold = found.bias[edit.place], found.threshold[edit.place]
        z = float(state @ e + bias)
        z = {"linear": z, "relu": max(z, 0.0), "jumprelu": max(z, 0.0) if z > threshold else 0.0}[
            found.activation
        ]
        c = {
            "add": edit.scale,
            "clamp": edit.scale - z,
            "min_clamp": max(edit.scale, z) - z,
            "null_out": -max(float(state @ w + bias), 0.0) / float(w @ w),
        }[edit.intervention]
        moved = moved + c * w
    return moved


def random_edits(rng: random.Random, kinds: tuple[str, ...], most: int) -> tuple[Edit, ...]:
    def one() -> Edit:
        begin = rng.randrange(6)
        end = rng.choice([None, begin + rng.randrange(6)])
        return Edit(rng.randrange(CONCEPTS), rng.uniform(-3, 3), rng.choice(kinds), begin, end)

    return tuple(one() for _ in range(rng.randrange(most + 1)))


def check_steps(
    apply: Any, activation: str, kinds: tuple[str, ...], *, residual: bool, steps: int = 40
) -> int:
    """Random steps, some requests coming and some going, against one token at a time.

    Args:
        apply: Edits hidden states in place, as tables say.
        activation: Of the directions.
        kinds: The interventions.
        residual: Whether the block gives one.
        steps: How many.

    Returns:
        Steps in which something was edited.
    """
    rng = random.Random(f"{activation}{kinds}{residual}")
    found, torch_rng = directions(activation), torch.Generator().manual_seed(0)
    made, edited_steps = tables(found), 0
    known: dict[str, tuple[Edit, ...]] = {}
    for step in range(steps):
        if step % 3 == 0:  # otherwise the same requests go on
            for request in known:
                made.goes(request)
            known = {
                f"{step}:{k}": random_edits(rng, kinds, 1 if step % 2 else 3)
                for k in range(rng.randint(1, REQUESTS))
            }
            for request, edits in known.items():
                made.comes(request, asks(edits))
        starts = np.array([rng.randrange(8) for _ in known], dtype=np.int32)
        counts = np.array([rng.choice([1, 1, 5]) for _ in known], dtype=np.int32)
        made.steps(list(known), counts)
        tokens = [
            (edits, start + k)
            for edits, start, count in zip(known.values(), starts, counts, strict=True)
            for k in range(count)
        ]
        made.positions[: len(tokens)] = torch.tensor([position for _, position in tokens])
        padded = len(tokens) + rng.choice([0, 3])
        hidden = torch.randn(padded, WIDTH, generator=torch_rng)
        rest = torch.randn(padded, WIDTH, generator=torch_rng) if residual else None
        output = hidden if rest is None else hidden + rest
        expected = hidden.clone()
        for place, (edits, position) in enumerate(tokens):
            expected[place] += by_hand(found, edits, position, output[place])
        edited_steps += not torch.equal(expected, hidden)
        apply(made, hidden, rest)
        torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-4)
    return edited_steps


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kinds", [("add",), KINDS])
@pytest.mark.parametrize("residual", [True, False])
def test_every_token_by_its_own_request(
    activation: str, kinds: tuple[str, ...], residual: bool
) -> None:
    assert check_steps(Tables.apply, activation, kinds, residual=residual) > 20


def test_the_kernel_edits_alike() -> None:
    """Triton's own interpreter runs it; it must be told so before Triton is imported."""
    pytest.importorskip("triton")
    code = "import test_tables; test_tables.check_kernel()"
    found = os.environ | {"TRITON_INTERPRET": "1"}
    found["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], env=found, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def check_kernel() -> None:
    """The kernel against one token at a time, and in half precision against torch.

    In float16: the interpreter rounds to bfloat16 otherwise than a device does.
    """
    from harness_axbench.engine.kernel import apply

    for activation in ACTIVATIONS:
        for residual in (True, False):
            assert check_steps(apply, activation, KINDS, residual=residual, steps=12) > 4
    made = tables(directions(), torch.float16)
    edits = (Edit(3, 1.2345678, "add", 0, None), Edit(1, -0.4, "add", 1, None))
    made.comes("A", asks(edits))
    made.steps(["A"], np.array([3]))
    made.positions[:3] = torch.arange(3)
    states = [torch.randn(3, WIDTH).to(torch.float16)] * 2
    hidden = [one.clone() for one in states]
    apply(made, hidden[0], None)
    made.apply(hidden[1], None)
    assert torch.equal(*hidden)
    assert not torch.equal(hidden[0], states[0])


def test_the_worked_example() -> None:
    made = tables(directions())
    made.comes("A", asks((Edit(0, 1.0, "add", 2, None),)))
    made.comes("B", asks(()))
    made.steps(["A", "B"], np.array([4, 1]))
    assert made.row_of_token[:5].tolist() == [1, 1, 1, 1, 0]
    made.positions[:5] = torch.tensor([0, 1, 2, 3, 9])
    hidden = torch.zeros(5, WIDTH)
    made.apply(hidden, None)
    assert hidden.any(dim=1).tolist() == [False, False, True, True, False]
    made.steps(["B"], np.array([1]))
    assert made.idle
    assert not made.row_of_token.any()


def test_tables_stay_where_they_are() -> None:
    """What is captured in a graph reads this memory for ever."""
    made = tables(directions())
    kept = ("row_of_token", "facts", "scales", "positions")
    before = [getattr(made, name).data_ptr() for name in kept]
    before += [made.directions.weight.data_ptr(), made.directions.encoder.data_ptr()]
    for k in range(REQUESTS):
        made.comes(str(k), asks((Edit(k % CONCEPTS, 0.5, "clamp", 0, None),) * (k % MOST)))
        made.steps([str(i) for i in range(k + 1)], np.ones(k + 1, dtype=np.int32))
    made.fill(directions())
    after = [getattr(made, name).data_ptr() for name in kept]
    after += [made.directions.weight.data_ptr(), made.directions.encoder.data_ptr()]
    assert before == after


def test_a_request_that_begins_anew_is_edited_as_it_asks_now() -> None:
    """A preempted request comes again, and an id may be used again."""
    made = tables(directions())
    for scale in (1.0, 2.0):
        made.comes("A", asks((Edit(0, scale, "add", 0, None),)))
        made.steps(["A"], np.array([1]))
        hidden = torch.zeros(1, WIDTH)
        made.apply(hidden, None)
        torch.testing.assert_close(hidden[0], scale * directions().weight[0])
        made.goes("A")
    made.comes("A", asks(()))
    made.steps(["A"], np.array([1]))
    assert made.idle


def test_half_precision_adds_the_rounded_vector() -> None:
    """The product of scale and direction is rounded once, not its factors."""
    found = directions()
    made = tables(found, torch.bfloat16)
    made.comes("A", asks((Edit(3, 1.2345678, "add", 0, None),)))
    made.steps(["A"], np.array([2]))
    hidden = torch.zeros(2, WIDTH, dtype=torch.bfloat16)
    made.apply(hidden, None)
    expected = (1.2345678 * found.weight[3]).to(torch.bfloat16)
    assert torch.equal(hidden, expected.expand(2, -1))


def test_edits_travel_in_a_requests_extra_args() -> None:
    edits = (Edit(7, 0.1, "clamp", 3, None), Edit(2, 1.0, "add", 0, 4))
    assert edits_in(dict([message_of(edits)])) == edits
    assert edits_in({"other": 1}) == edits_in(None) == ()
    assert salt_of("d", "m", edits) != salt_of("d", "m", edits[::-1])
    with pytest.raises(HarnessError, match=f"9 edits of one request; {MOST} at most"):
        message_of(edits[:1] * 9)
    assert KEY in dict([message_of(edits)])
