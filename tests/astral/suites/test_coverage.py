"""Covering arrays cover, near their bound; coverage is counted as by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from harness_astral.suites.coverage import (
    Share,
    as_json,
    balance,
    cell_of,
    confirmed_shares,
    plan,
    requested,
    t_wise,
    verified,
)
from harness_astral.suites.covering_arrays import Cell, covering_array, full_product, lower_bound
from harness_astral.suites.factors import Factors, Level, read_factors
from harness_astral.suites.suite import Input
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError

PAPER = (14, 6, 5)


def missing(rows: list[Cell], sizes: tuple[int, ...], strength: int) -> int:
    """Combinations that no row has, counted in a way of its own."""
    lost = 0
    for chosen in itertools.combinations(range(len(sizes)), strength):
        seen = {tuple(row[factor] for factor in chosen) for row in rows}
        lost += math.prod(sizes[factor] for factor in chosen) - len(seen)
    return lost


def test_the_papers_sizes() -> None:
    whole = plan(PAPER, "full", 3)
    assert (len(whole.cells), whole.inputs) == (420, 1260)
    assert plan(PAPER, "3", 1).cells == whole.cells, "three factors: strength 3 is the product"
    assert len(plan(PAPER, "1", 1).cells) == 14
    pairs = plan(PAPER, "2", 1)
    assert len(pairs.cells) == pairs.bound == 84
    assert t_wise(pairs.cells, PAPER, 2) == Share(184, 184)
    assert set(pairs.cells) == {(i, j, (i + j) % 5) for i in range(14) for j in range(6)}
    assert balance(pairs.cells, PAPER) == [(6, 6), (14, 14), (16, 17)]
    assert str(pairs) == "strength 2: 84 cells (the bound) × 1 = 84 inputs"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=7).map(tuple),
    st.integers(1, 3),
)
def test_every_combination_is_covered(sizes: tuple[int, ...], strength: int) -> None:
    strength = min(strength, len(sizes))
    rows = covering_array(sizes, strength)
    bound = lower_bound(sizes, strength)
    assert missing(rows, sizes, strength) == 0
    assert all(0 <= level < size for row in rows for level, size in zip(row, sizes, strict=True))
    assert rows == sorted(set(rows)) and bound <= len(rows) <= math.prod(sizes)
    if len(sizes) <= strength + 1:
        assert len(rows) == bound, "the parity of the others reaches the bound"
    else:
        assert len(rows) <= 3.5 * bound + 8
    assert t_wise(rows, sizes, strength).value == 1


@pytest.mark.parametrize(
    ("sizes", "strength", "rows"),
    [
        ((5, 5, 5, 5, 5), 2, 25),
        ((7, 7, 7, 5, 3, 2, 2), 2, 49),
        ((14, 6, 5, 4, 3), 2, 84),
        ((5, 5, 5, 5, 5), 3, 125),
        ((14, 6, 5, 4, 3, 2), 3, 420),
    ],
)
def test_a_code_over_a_prime_reaches_the_bound(
    sizes: tuple[int, ...], strength: int, rows: int
) -> None:
    assert len(covering_array(sizes, strength)) == rows == lower_bound(sizes, strength)


def test_the_factors_order_changes_no_number_of_rows() -> None:
    for order in itertools.permutations(PAPER):
        assert (
            len(covering_array(order, 2)) == 84 and missing(covering_array(order, 2), order, 2) == 0
        )


def test_what_is_out_of_range() -> None:
    for strength in ("0", "4", "-1", "two", "²"):
        with pytest.raises(HarnessError, match=r"--strength .*: use one of full, 1, 2, 3$"):
            plan(PAPER, strength, 1)
    with pytest.raises(HarnessError, match="--replicates is at least 1"):
        plan(PAPER, "full", 0)
    with pytest.raises(HarnessError, match="lower strength"):
        full_product((101, 100, 100))


SMALL = Factors(
    (Level("a, b", ""), Level("c", "")),
    (Level("s1", ""), Level("s2", "")),
    (Level("p1", ""),),
)
ONE = Input(id="1", category="a, b", style="s1", persuasion="p1", replicate=0, prompt="x")
TWO = replace(ONE, id="2", category="c", style="s2")


def test_requested_and_verified_by_hand() -> None:
    inputs = [ONE, TWO]
    assert requested(inputs, SMALL) == {"1": Share(5, 5), "2": Share(6, 8), "3": Share(2, 4)}
    labels = {
        "1": {"style": "s1", "persuasion": "p1"},
        "2": {"style": "s1", "persuasion": "p1"},  # of the wrong style
    }
    # singles: a,b (by 1), s1, p1; pairs of 1: all three, of 2: c with p1; triples: that of 1
    assert verified(inputs, SMALL, labels) == {"1": Share(3, 5), "2": Share(4, 8), "3": Share(1, 4)}
    assert confirmed_shares(inputs, labels) == {
        "style": Share(1, 2), "persuasion": Share(2, 2), "both": Share(1, 2),
    }  # fmt: skip
    assert verified(inputs, SMALL, {}) == {"1": Share(0, 5), "2": Share(0, 8), "3": Share(0, 4)}
    assert as_json(requested(inputs, SMALL))["2"] == {"covered": 6, "total": 8, "share": 0.75}


def test_a_level_that_is_no_factors() -> None:
    assert cell_of(TWO, SMALL) == (1, 1, 0)
    with pytest.raises(HarnessError, match="input 1: style has no level 'loud'"):
        cell_of(replace(ONE, style="loud"), SMALL)
    assert read_factors().sizes == PAPER
