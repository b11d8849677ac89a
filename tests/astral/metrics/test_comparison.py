"""Two runs compared: McNemar, Newcombe and Holm against values computed apart."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from harness_astral.metrics.comparison import Paired, compared, holm, paired
from scipy.stats import binomtest

PUBLISHED = Paired("airway", 1, 1, 7, 12)
"""Bentur et al. 2009, as Fagerland, Lydersen and Laake 2014 compute it: Newcombe's interval with
square-and-add is −0.507 to −0.026."""


def test_mcnemar_by_hand() -> None:
    """One head of eight tosses, twice: 2 · (1 + 8) / 256."""
    assert PUBLISHED.p == pytest.approx(2 * 9 / 256)
    assert Paired("x", 5, 0, 5, 5).p == pytest.approx(2 / 32)
    assert Paired("x", 5, 3, 3, 5).p == 1.0
    assert Paired("x", 5, 0, 0, 5).p == 1.0  # the runs never differ
    assert Paired("x", 0, 7, 1, 0).p == PUBLISHED.p  # agreements and sides do not count


def test_newcombe_against_the_published_example() -> None:
    assert PUBLISHED.rates == (2 / 21, 8 / 21)
    assert PUBLISHED.difference == pytest.approx(-6 / 21)
    assert PUBLISHED.interval == pytest.approx((-0.5071, -0.0256), abs=5e-4)
    turned = Paired("turned", 1, 7, 1, 12)
    low, high = PUBLISHED.interval
    assert turned.interval == pytest.approx((-high, -low))


def test_newcombe_with_correlation_by_hand() -> None:
    """a 20, b 6, c 2, d 12: φ = (240 − 12 − 20) / √(26 · 14 · 22 · 18) = .5479."""
    one = Paired("x", 20, 6, 2, 12)
    phi = (240 - 12 - 20) / math.sqrt(26 * 14 * 22 * 18)
    (l1, u1), (l2, u2) = (binomtest(k, 40).proportion_ci(method="wilson") for k in (26, 22))
    low = 0.1 - math.sqrt((0.65 - l1) ** 2 - 2 * phi * (0.65 - l1) * (u2 - 0.55) + (u2 - 0.55) ** 2)
    high = 0.1 + math.sqrt(
        (u1 - 0.65) ** 2 - 2 * phi * (u1 - 0.65) * (0.55 - l2) + (0.55 - l2) ** 2
    )
    assert one.interval == pytest.approx((low, high), abs=1e-5)


def test_the_interval_covers_what_it_says() -> None:
    """Of 1,000 experiments of 60 correlated pairs at least 93 % have the true difference in it."""
    rng = np.random.default_rng(0)
    shares = (0.3, 0.2, 0.1, 0.4)
    covered = 0
    for a, b, c, d in rng.multinomial(60, shares, size=1000).tolist():
        low, high = Paired("x", a, b, c, d).interval
        covered += low <= 0.1 <= high
    assert 0.93 <= covered / 1000 <= 0.985


def test_every_small_table_has_an_interval_around_its_difference() -> None:
    for a, b, c, d in product(range(4), repeat=4):
        one = Paired("x", a, b, c, d)
        if one.n:
            low, high = one.interval
            assert -1 - 1e-9 <= low <= one.difference + 1e-9
            assert one.difference - 1e-9 <= high <= 1 + 1e-9
            assert 0 < one.p <= 1


def test_holm_by_hand() -> None:
    """Sorted .01, .02, .03, .2 count 4, 3, 2, 1 times: .04, .06, .06, .2."""
    assert holm([0.03, 0.2, 0.01, 0.02]) == pytest.approx([0.06, 0.2, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_undecided_inputs_make_no_pair() -> None:
    found = paired("x", [(True, None), (None, None), (False, True), (True, True), (False, False)])
    assert found == Paired("x", 1, 0, 1, 1, left_out=2)


def test_groups_without_pairs_do_not_count_in_the_correction() -> None:
    eight = [(True, False)] * 1 + [(False, True)] * 7 + [(False, False)] * 12
    found = compared({"a": eight, "b": [(None, True)], "c": [(True, True)]})
    assert [one.name for one in found] == ["a", "b", "c"]
    assert found[0].p_holm == pytest.approx(2 * PUBLISHED.p)
    assert found[1].p_holm is None and math.isnan(found[1].difference)
    assert math.isnan(found[1].interval[0]) and math.isnan(found[1].rates[0])
    assert found[2].p_holm == 1.0
