"""States on one scale: statistics, what is read, what is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness_axbench.activations.normalising import (
    NONE,
    STANDARDISE,
    UNIT,
    UNSCALED,
    Moments,
    Scaling,
    directions,
)
from harness_axbench.dictionary.directions import LINEAR, Directions


def standardising() -> Scaling:
    """The worked example's: tokens (0, 1), (2, 1), (4, 1) and (6, 1), in two texts."""
    first, second = torch.tensor([[0.0, 1], [2, 1]]), torch.tensor([[4.0, 1], [6, 1]])
    mean, spread = Moments.of([first, torch.full((3, 2), 99.0), second]).together([0, 2])
    return Scaling(STANDARDISE, mean, spread, 0.0).to(torch.device("cpu"))


def test_the_worked_example() -> None:
    own, root = standardising(), 5**0.5
    assert own.mean.tolist() == [3, 1]
    assert own.spread.tolist() == pytest.approx([root, 0])
    state = torch.tensor([[5.0, 9.0]])
    assert own.apply(state).tolist()[0] == pytest.approx([2 / root, 0])
    found = directions(torch.tensor([[1.0, 0.0]]), [own])
    assert found["encoder"].tolist()[0] == pytest.approx([1 / root, 0])
    assert found["bias"].tolist() == pytest.approx([-3 / root])
    assert found["weight"].tolist()[0] == pytest.approx([root, 0])
    assert Directions.of(found, LINEAR).scores(state).item() == pytest.approx(2 / root)


def test_states_of_one_length_by_hand() -> None:
    """Lengths 5 and 10 have the mean 7.5: (0, 2) becomes (0, 7.5), and (3, 4) (4.5, 6)."""
    own = Scaling(UNIT, torch.zeros(2), torch.zeros(2), 7.5)
    assert own.apply(torch.tensor([[0.0, 2.0], [3.0, 4.0]])).tolist() == [[0, 7.5], [4.5, 6]]
    found = directions(torch.tensor([[0.6, 0.8]]), [own])
    assert found.keys() == {"weight", "norm"}
    scores = Directions.of(found, LINEAR).scores(torch.tensor([[0.0, 2.0], [3.0, 4.0], [0, 0]]))
    assert scores.flatten().tolist() == pytest.approx([6, 7.5, 0])
    assert own.apply(torch.zeros(1, 2)).tolist() == [[0, 0]]


def test_unscaled_states_stay() -> None:
    state = torch.randn(3, 4)
    assert torch.equal(UNSCALED.apply(state), state)
    assert directions(state, [UNSCALED] * 3).keys() == {"weight"}
    assert UNSCALED.kind == NONE


def test_statistics_of_large_means_do_not_cancel() -> None:
    """A spread of one beside a mean of 70,000, in texts of unlike length."""
    source = np.random.default_rng(0)
    tokens = (70_000 + source.standard_normal((900, 8))).astype(np.float32)
    texts = [torch.tensor(part) for part in np.split(tokens, [1, 40, 500, 507])]
    mean, spread = Moments.of(texts).together(range(5))
    np.testing.assert_allclose(mean, tokens.mean(0, dtype=np.float64), rtol=1e-14)
    np.testing.assert_allclose(spread, tokens.std(0, dtype=np.float64), rtol=1e-10)


@pytest.mark.parametrize("kind", [STANDARDISE, UNIT])
def test_what_is_read_is_the_scaled_state_along_the_direction(kind: str) -> None:
    source = torch.Generator().manual_seed(4)
    states = torch.randn(50, 6, generator=source) * torch.tensor([1.0, 1, 3, 9, 0.1, 40]) + 2
    mean, spread = Moments.of([states]).together([0])
    own = Scaling(kind, mean, spread, 12.0).to(torch.device("cpu"))
    weight = torch.nn.functional.normalize(torch.randn(2, 6, generator=source), dim=1)
    read = Directions.of(directions(weight, [own, own]), LINEAR)
    torch.testing.assert_close(read.scores(states), own.apply(states) @ weight.T)


def test_adding_raises_the_standardised_score_by_as_much() -> None:
    source = torch.Generator().manual_seed(5)
    states = torch.randn(50, 6, generator=source) * torch.arange(1.0, 7) + 3
    mean, spread = Moments.of([states]).together([0])
    own = Scaling(STANDARDISE, mean, spread, 0.0).to(torch.device("cpu"))
    weight = torch.nn.functional.normalize(torch.randn(1, 6, generator=source), dim=1)
    read = Directions.of(directions(weight, [own]), LINEAR)
    raised = read.scores(states + 2.5 * read.weight) - read.scores(states)
    torch.testing.assert_close(raised, torch.full_like(raised, 2.5))


def test_a_dimension_that_does_not_vary_is_neither_read_nor_written() -> None:
    found = Directions.of(directions(torch.tensor([[0.6, 0.8]]), [standardising()]), LINEAR)
    assert found.encoder[0, 1] == found.weight[0, 1] == 0
    near, far = found.scores(torch.tensor([[4.0, 1.0], [4.0, 1e6]])).flatten()
    assert near == far
