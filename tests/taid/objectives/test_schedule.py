"""TAID's t against a recurrence written apart, and what its settings may be."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from harness_taid.objectives.schedule import Schedule

from harness.errors import HarnessError


def falling_losses(n: int, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(2 + 8 * math.exp(-3 * k / n) + 0.5 * random.standard_normal()) for k in range(n)]


def recurrence(
    losses: list[float],
    total: int,
    start: float,
    end: float,
    alpha: float,
    beta: float,
) -> list[tuple[float, float, bool]]:
    """(t, m, adaptive term larger) after each step, in extended precision."""
    big = np.longdouble
    t, m, found = big(start), big(0), []
    for k in range(1, len(losses) + 1):
        won = False
        if k > 1:
            before, now = big(losses[k - 2]), big(losses[k - 1])
            m = big(beta) * m + (1 - big(beta)) * (before - now) / (before + big(1e-15))
            step = big(alpha) / (1 + np.exp(-m)) * (1 - t)
            line = big(start) + (big(end) - big(start)) * k / total
            won = bool(t + step > line)
            t = min(big(end), max(line, t + step))
        found.append((float(t), float(m), won))
    return found


@pytest.mark.parametrize(
    ("total", "start", "end", "alpha", "beta"),
    [
        (1000, 0.4, 1.0, 5e-4, 0.99),
        (1000, 0.2, 0.9, 5e-2, 0.9),
        (20_000, 0.4, 1.0, 5e-4, 0.99),
        (500, 0.0, 1.0, 1e-2, 0.5),  # goes on beyond its last step
    ],
)
def test_a_thousand_updates(
    total: int, start: float, end: float, alpha: float, beta: float
) -> None:
    losses = falling_losses(1000)
    schedule = Schedule(total_steps=total, t_start=start, t_end=end, alpha=alpha, beta=beta)
    expected = recurrence(losses, total, start, end, alpha, beta)
    last = start
    for k, (loss, (t, m, won)) in enumerate(zip(losses, expected, strict=True), 1):
        logged = schedule.update(loss, k)
        assert schedule.t == logged["t"] == pytest.approx(t, rel=1e-12)
        assert logged["momentum"] == pytest.approx(m, rel=1e-9, abs=1e-12)
        assert logged["adaptive_won"] == won or k > total
        assert last <= logged["t"] <= end
        last = logged["t"]


def test_the_example_by_hand() -> None:
    schedule = Schedule(total_steps=100, alpha=0.1)
    assert schedule.update(2.0, 1)["t"] == 0.4
    logged = schedule.update(1.0, 2)
    assert logged["delta"] == pytest.approx(0.5)
    assert logged["momentum"] == pytest.approx(0.005)
    assert logged["t"] == pytest.approx(0.4 + 0.1 * 0.6 / (1 + math.exp(-0.005)))
    assert logged["t_floor"] == pytest.approx(0.412)
    assert logged["adaptive_won"] == 1


def wins(total: int) -> int:
    schedule = Schedule(total_steps=total)
    losses = falling_losses(total)
    return sum(schedule.update(loss, k)["adaptive_won"] > 0 for k, loss in enumerate(losses, 1))


def test_the_default_adaptive_term_wins_in_long_trainings_only() -> None:
    assert wins(2000) == 0
    assert wins(20_000) > 100


def test_without_adaptation_t_is_the_straight_line() -> None:
    schedule = Schedule(total_steps=50, alpha=1.0, adaptive=False)
    found = [schedule.update(loss, k) for k, loss in enumerate(falling_losses(50), 1)]
    assert [logged["t"] for logged in found[1:]] == pytest.approx(
        [0.4 + 0.6 * k / 50 for k in range(2, 51)]
    )
    assert found[-1]["t"] == 1.0
    assert not any(logged["adaptive_won"] for logged in found)


def test_a_resumed_schedule_goes_on_the_same() -> None:
    losses = falling_losses(300)
    whole, first = (Schedule(total_steps=5000, alpha=0.01) for _ in range(2))
    curve = [whole.update(loss, k) for k, loss in enumerate(losses, 1)]
    for stop in (0, 1, 137):
        first = Schedule(total_steps=5000, alpha=0.01)
        for k in range(stop):
            first.update(losses[k], k + 1)
        second = Schedule(total_steps=5000, alpha=0.01)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        rest = [second.update(losses[k], k + 1) for k in range(stop, 300)]
        assert rest == curve[stop:]


def test_a_loss_that_jumps_does_not_overflow() -> None:
    schedule = Schedule(total_steps=10, beta=0.0, alpha=1.0)
    schedule.update(1e-9, 1)
    assert schedule.update(1e6, 2)["t"] == pytest.approx(schedule.floor(2))
    schedule = Schedule(total_steps=10, beta=0.0, alpha=1.0)
    schedule.update(0.0, 1)
    assert math.isfinite(schedule.update(1.0, 2)["t"])


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number(loss: float) -> None:
    schedule = Schedule(total_steps=10)
    schedule.update(1.0, 1)
    before = schedule.state_dict()
    with pytest.raises(HarnessError, match="step 2: the loss is"):
        schedule.update(loss, 2)
    assert schedule.state_dict() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"t_start": 1.0}, "t_start=1.0 is out of range; needed is 0 ≤ t_start < 1"),
        ({"t_start": -0.1}, "needed is 0 ≤ t_start < 1"),
        ({"t_end": 0.0}, "needed is 0 < t_end ≤ 1"),
        ({"t_end": 1.1}, "needed is 0 < t_end ≤ 1"),
        ({"alpha": 1.1}, "needed is 0 ≤ alpha ≤ 1"),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"beta": 1.0}, "needed is 0 ≤ beta < 1"),
        ({"t_start": 0.8, "t_end": 0.5}, "t_start=0.8 lies above t_end=0.5"),
        ({"total_steps": 0}, "total_steps=0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(HarnessError) as caught:
        Schedule(**{"total_steps": 10, **settings})  # type: ignore[arg-type]
    assert message in str(caught.value)
