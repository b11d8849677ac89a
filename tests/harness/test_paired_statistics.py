"""Paired differences by hand, against scipy, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.statistics import (
    Mean,
    Parts,
    Statistic,
    Stratified,
    difference_test,
    holm,
    mcnemar,
    mean_parts,
    pair,
    tango,
    wilson,
)

pytestmark = pytest.mark.long

SHARE = st.integers(0, 40)


def means(baseline: list[float] | np.ndarray, run: list[float] | np.ndarray):
    return pair(mean_parts(None, np.array(baseline)), mean_parts(None, np.array(run)), len(run))


def test_mcnemar_by_hand() -> None:
    # 6 against 0 discordant documents: 2 · (1/2)⁶
    assert mcnemar((10, 6, 0, 4)) == pytest.approx(2 / 64)
    # 5 against 1: 2 · (1 + 6)/64
    assert mcnemar((0, 5, 1, 9)) == pytest.approx(14 / 64)
    assert mcnemar((3, 2, 2, 3)) == 1 and mcnemar((7, 0, 0, 7)) == 1


def test_holm_by_hand() -> None:
    # in order: 3 · 0.01, then 2 · 0.03, then 0.04, which may not be below 0.06
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == [] and holm([None]) == [None]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_monotone_and_never_smaller(values: list[float]) -> None:
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    ordered = [q for _, q in sorted(zip(values, corrected, strict=True))]
    assert ordered == sorted(ordered)
    if values:
        assert min(corrected) == pytest.approx(min(1.0, len(values) * min(values)))


@settings(deadline=None)
@given(SHARE, SHARE, SHARE, SHARE)
def test_tangos_ends_are_where_the_score_is_196(a: int, b: int, c: int, d: int) -> None:
    n = a + b + c + d
    if n == 0:
        return
    low, high = tango((a, b, c, d))
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert tango((d, c, b, a)) == pytest.approx((-high, -low), abs=1e-9)

    def likelihood(other: np.ndarray, at: float) -> np.ndarray:
        """Of the discordant counts, where ``other`` is the second run's share."""
        rest = 1 - 2 * other - at
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = ((b, other + at), (c, other), (a + d, rest))
            return sum(k * np.log(share) for k, share in terms if k)

    for end in (low, high):
        if -1 < end < 1 and n > 3:
            grid = np.linspace(max(0.0, -end), (1 - end) / 2, 20_001)
            best = grid[np.nanargmax(likelihood(grid, end))]
            spread = math.sqrt(n * (2 * best + end * (1 - end)))
            assert abs(b - c - n * end) / spread == pytest.approx(1.96, abs=0.02)


def test_tango_without_discordant_documents_is_wilsons() -> None:
    """Both runs alike on all of 48 documents: up to 1.96²/(48 + 1.96²) may differ."""
    assert tango((40, 0, 0, 8)) == pytest.approx((-wilson(0, 48)[1], wilson(0, 48)[1]), abs=1e-6)


def test_a_paired_difference_by_hand() -> None:
    found = means([1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 0])
    assert found.baseline_value == 0.5 and found.value == pytest.approx(4 / 6)
    assert found.table == (2, 2, 1, 1)
    tested = difference_test(found)
    assert tested.test == "mcnemar" and tested.p == 1.0
    assert (tested.low, tested.high) == tango((2, 2, 1, 1))


def test_the_interval_is_scipys_for_many_documents() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=400)
    second = 0.7 * first + rng.normal(0.1, 0.5, size=400)
    tested = difference_test(means(first, second))
    expected = stats.bootstrap(
        (first, second),
        lambda a, b, axis: (b - a).mean(axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    assert tested.low == pytest.approx(expected.low, abs=0.003)
    assert tested.high == pytest.approx(expected.high, abs=0.003)
    permuted = stats.permutation_test(
        (first, second),
        lambda a, b, axis: (b - a).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        random_state=np.random.default_rng(1),
    )
    assert tested.p == pytest.approx(permuted.pvalue, abs=0.01)


@pytest.mark.parametrize("n", [5, 12, 30])
def test_of_few_units_it_is_about_students_t(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(size=n), rng.normal(0.8, size=n)
    tested = difference_test(means(first, second))
    expected = stats.ttest_rel(second, first)
    width = np.diff(expected.confidence_interval())[0]
    assert tested.high - tested.low == pytest.approx(width, rel=0.15)
    assert tested.p == pytest.approx(expected.pvalue, abs=0.04)


def test_far_beyond_the_resamples_p_is_that_of_the_standard_error() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=100)
    second = first + rng.normal(0.6, 1, size=100)
    p, expected = difference_test(means(first, second)).p, stats.ttest_rel(second, first).pvalue
    assert p < 1e-5 and 0.3 < math.log(p) / math.log(expected) < 3
    few = difference_test(means(first[:20], second[:20] + 5)).p
    assert few == pytest.approx(
        2 * stats.t.cdf(stats.norm.ppf(1 / 10_001) / math.sqrt(20 / 19), 19)
    )


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(5, 30))
def test_p_is_below_5_percent_just_where_the_interval_is_without_0(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n)
    tested = difference_test(means(first, first + rng.normal(0.3, 0.7, size=n)), resamples=2000)
    if abs(tested.p - 0.05) > 0.003:
        assert (tested.p < 0.05) == (not tested.low <= 0 <= tested.high)


def test_any_statistic_is_resampled_as_its_mean_would_be() -> None:
    """The general way, and that of a mean, draw alike."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=60), rng.normal(0.2, size=60)
    general = [Parts(None, lambda w, v=v: w @ v / w.sum(1)) for v in (first, second)]
    one = difference_test(pair(*general, 60))
    other = difference_test(means(first, second))
    assert (one.low, one.high, one.p) == pytest.approx((other.low, other.high, other.p), abs=0.02)


def test_units_are_brought_together_by_name() -> None:
    first = mean_parts(["a", "b", "c", "d"], np.array([1.0, 2.0, 3.0, math.nan]))
    second = mean_parts(["d", "c", "b", "e"], np.array([9.0, 5.0, 3.0, 7.0]))
    found = pair(first, second, 0)
    assert (found.units, found.baseline_value, found.value) == (2, 2.5, 4.0)
    clustered = Statistic("tests.sum", lambda i, w: w @ np.array([v for _, v in i]),
                          unit=lambda item: item[0])  # fmt: skip
    found = pair(clustered.parts([("x", 1.0), ("x", 2.0), ("y", 5.0)]),
                 clustered.parts([("y", 7.0), ("z", 1.0)]), 0)  # fmt: skip
    assert (found.units, found.baseline_value, found.value) == (1, 5.0, 7.0)


def test_strata_are_resampled_each_by_itself() -> None:
    """Two tasks of unlike size and level: no spread is between them."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=200), rng.normal(size=50)
    pairs = [means(np.zeros(200), 10 + noise[0]), means(np.zeros(50), noise[1])]
    found = Stratified(pairs, [0.5, 0.5])
    assert found.value == pytest.approx((10 + noise[0].mean() + noise[1].mean()) / 2)
    assert (found.units, found.strata, found.table) == (250, 2, None)
    error = math.hypot(noise[0].std() / math.sqrt(200), noise[1].std() / math.sqrt(50)) / 2
    tested = difference_test(found)
    assert tested.high - tested.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_where_there_is_no_interval() -> None:
    assert difference_test(means([0.5, 1.0], [1.0, 2.0])).p is None
    alike = difference_test(means([0.5, 0.7, 0.2], [0.5, 0.7, 0.2]))
    assert (alike.low, alike.high, alike.p) == (None, None, 1.0)
    shifted = difference_test(means([0.25, 0.5, 0.75], [0.5, 0.75, 1.0]))
    assert (shifted.low, shifted.high, shifted.p) == (None, None, None)


def test_biased_resamples_give_no_interval() -> None:
    """The largest value of a resample never lies above the largest of all."""
    rng = np.random.default_rng(0)
    largest = [
        Parts(None, lambda w, v=v: np.where(w > 0, v, -np.inf).max(1))
        for v in (np.zeros(50), rng.exponential(size=50))
    ]
    tested = difference_test(pair(*largest, 50))
    assert (tested.low, tested.high, tested.p) == (None, None, None)


def test_a_missing_value_takes_its_document_out_of_both() -> None:
    rated = Mean("tests.rated", lambda item: math.nan if item is None else item)
    found = pair(rated.parts([1.0, None, 3.0]), rated.parts([2.0, 9.0, None]), 3)
    assert (found.units, found.baseline_value, found.value) == (1, 1.0, 2.0)


def simulated(rng: np.random.Generator, kind: str, n: int, effect: float):
    """Two runs on the same n documents, right with correlated chances or scored with noise."""
    hardness = rng.normal(size=n)
    noise = rng.normal(size=(2, n))
    if kind == "binary":
        shift = np.array([[0.0], [effect]])
        return means(*(hardness + noise + shift > 0).astype(float))
    return means(*stats.norm.cdf(hardness + noise + np.array([[0.0], [effect]])))


@pytest.mark.parametrize(("kind", "n"), [("binary", 60), ("binary", 300), ("scored", 12)])
def test_95_percent_intervals_cover_in_93_to_97_percent(kind: str, n: int) -> None:
    """1,000 simulations, the runs of unlike quality."""
    rng = np.random.default_rng(7)
    # the share with hardness + noise + effect > 0, or the mean of its Φ, less one half
    truth = stats.norm.cdf(0.2 / math.sqrt(2 if kind == "binary" else 3)) - 0.5
    covered = 0
    for number in range(1000):
        tested = difference_test(simulated(rng, kind, n, 0.2), resamples=1000, seed=number)
        covered += tested.low <= truth <= tested.high
    assert 930 <= covered <= 970


def test_in_a_study_without_differences_few_are_found() -> None:
    """1,000 studies of two tasks and three runs: any difference below 5 % in at most 6 %."""
    rng = np.random.default_rng(11)
    wrong = 0
    for number in range(1000):
        found = [simulated(rng, kind, 50, 0.0) for kind in ("binary", "scored") for _ in range(3)]
        tested = [difference_test(one, resamples=1000, seed=number) for one in found]
        wrong += min(p for p in holm([one.p for one in tested]) if p is not None) < 0.05
    assert wrong <= 60
