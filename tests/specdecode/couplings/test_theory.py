"""Expected tokens a pass and speed-ups, by hand and by simulation."""

from __future__ import annotations

import doctest
from itertools import product

import numpy as np
import pytest
from harness_specdecode.couplings import theory
from harness_specdecode.couplings.theory import (
    Costs,
    expected_rounds,
    expected_tokens,
    speed_up,
    speed_up_here,
)


def test_the_worked_example():
    assert doctest.testmod(theory).attempted == 3
    assert doctest.testmod(theory).failed == 0


def test_expected_tokens_by_hand():
    assert expected_tokens(0.5, 2) == 1.75  # (1 − 1/8) / (1/2)
    assert expected_tokens(0.8, 4) == pytest.approx((1 - 0.8**5) / 0.2)
    assert expected_tokens(0, 7) == 1
    assert expected_tokens(1, 7) == 8
    assert expected_tokens(0.5, 2, drafting=0.4) == pytest.approx(0.6 * 1 + 0.4 * 1.75)


def test_rounds_along_an_answer_by_hand():
    """γ = 1, four tokens: the prompt's pass writes the first, then a round at 1, and one at 2 or 3.

    s_1 = 1, s_2 = 1 − a_1 = 0.2; s_3 = a_1 + s_2 (1 − a_2) = 0.8 + 0.1, no draft there: one token
    is left.
    """
    found = expected_rounds([0.7, 0.8, 0.5, 0.9], 1, limit=4)
    assert found.calls == pytest.approx(1 + 1 + 0.2 + 0.9)
    assert found.looked == pytest.approx(1 + 0.2)
    assert found.right == pytest.approx(0.8 + 0.2 * 0.5)
    ended = expected_rounds([0.7, 0.8, 0.5, 0.9], 1, limit=9)  # the last token was an end
    assert ended.calls == pytest.approx(1 + 1 + 0.2 + 0.9)
    assert ended.looked == pytest.approx(1 + 0.2 + 0.9)
    assert expected_rounds([0.3] * 5, 0, limit=5).calls == 5
    assert expected_rounds([1.0] * 9, 2, limit=9).calls == 1 + 3
    assert expected_rounds([0.0] * 9, 2, limit=9).calls == 9


@pytest.mark.parametrize("limit", [6, 7, 20])
@pytest.mark.parametrize("gamma", [1, 2, 3, 8])
def test_rounds_against_every_outcome(gamma, limit):
    """All 2⁶ patterns of right and wrong drafts, decoded one by one."""
    agreements = [0.9, 0.2, 0.7, 0.4, 0.95, 0.6]
    calls = looked = right = 0.0
    for pattern in product([False, True], repeat=6):
        pairs = zip(agreements, pattern, strict=True)
        weight = np.prod([a if good else 1 - a for a, good in pairs])
        t = 1
        calls += weight
        while t < 6:
            calls += weight
            for _ in range(min(gamma, limit - t - 1)):
                looked += weight
                right += weight * pattern[t]
                t += 1
                if t == 6 or not pattern[t - 1]:
                    break
            else:
                t += 1
    found = expected_rounds(agreements, gamma, limit)
    assert (found.calls, found.looked, found.right) == pytest.approx((calls, looked, right))


def test_a_long_answer_of_equal_agreement_is_the_formula():
    rounds = expected_rounds([0.7] * 20_000, 3, limit=20_000)
    assert 20_000 / rounds.calls == pytest.approx(expected_tokens(0.7, 3), rel=1e-3)
    assert rounds.right / rounds.looked == pytest.approx(0.7)


def test_speed_ups_by_hand():
    assert speed_up(3.0, 5, 0.1) == 2.0
    assert speed_up_here(3.0, 5, Costs(draft=0.1)) == pytest.approx(2.0)
    costs = Costs(draft=0.1, verify=1.4, rest=0.3, plain_rest=0.1, prefill=0.5, draft_prefill=0.1)
    a_round = 5 * 0.1 + 1.4 + 0.3
    assert speed_up_here(3.0, 5, costs) == pytest.approx(1.6 / (a_round / 3 + 0.6))
    half = costs.drafting(0.5)
    assert (half.verify, half.rest, half.draft) == pytest.approx((1.2, 0.2, 0.1))
    assert costs.drafting(1.0) == costs
