"""Intervals and standard errors against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from harness.statistics import FEWEST, Statistic, auroc, reported, wilson


def weighted_mean(items: list[float], weights: np.ndarray) -> np.ndarray:
    return weights @ np.array(items) / weights.sum(1)


MEAN = Statistic("tests.mean", weighted_mean)


def test_the_bootstrap_error_of_a_mean_is_its_standard_error() -> None:
    items = list(np.random.default_rng(1).normal(size=400))
    assert MEAN(items) == pytest.approx(np.mean(items))
    assert MEAN.stderr(items) == pytest.approx(np.std(items) / 20, rel=0.1)
    low, high = MEAN.interval(items)
    assert high - low == pytest.approx(2 * 1.96 * np.std(items) / 20, rel=0.1)


def test_whole_clusters_are_resampled() -> None:
    items = [(c, float(c % 2)) for c in range(20) for _ in range(50)]
    by_cluster = Statistic(
        "tests.clustered", lambda i, w: weighted_mean([v for _, v in i], w), unit=lambda i: i[0]
    )
    assert by_cluster.stderr(items) == pytest.approx(0.5 / math.sqrt(20), rel=0.1)


def test_one_unit_has_no_error() -> None:
    clustered = Statistic("tests.clustered", lambda i, w: w @ np.array(i), unit=lambda _: "one")
    assert math.isnan(clustered.stderr([1.0, 2.0])) and math.isnan(clustered.stderr([1.0]))
    one = Statistic("tests.one", lambda i, w: w.sum(1) * math.nan)
    assert math.isnan(one.stderr([1.0, 2.0])) and all(map(math.isnan, one.interval([1.0, 2.0])))


def test_lm_eval_asks_a_statistic_for_its_error() -> None:
    error = metrics.stderr_for_metric(MEAN, bootstrap_iters=100)
    assert error is not None and error([0.0, 1.0, 1.0]) == MEAN.stderr([0.0, 1.0, 1.0])
    assert metrics.stderr_for_metric(MEAN, bootstrap_iters=0) is None
    assert metrics.stderr_for_metric(metrics.mean, 100) is metrics.mean_stderr


def test_the_interval_is_an_aggregation_of_its_own() -> None:
    low, high = MEAN.ci95([0.0, 1.0] * 50)
    assert 0.35 < low < 0.5 < high < 0.65
    assert repr(MEAN.ci95) == "tests.mean_ci95"


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=40
    )
)
def test_auroc_equals_scikit_learn_with_ties_and_weights(rows: list[tuple[bool, int, int]]) -> None:
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    value = auroc(labels.astype(bool), scores.astype(float), weights[None].astype(float))[0]
    kept = np.repeat(np.arange(len(labels)), weights)
    if len(set(labels[kept])) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(labels[kept], scores[kept]))


RIGHT = Statistic("tests.right", weighted_mean, bounds=(0.0, 1.0))


@pytest.mark.parametrize("n", [3, 5, 48, 1000])
def test_without_spread_the_interval_is_wilsons(n: int) -> None:
    """All right, all wrong: 48 of 48 is 48 / (48 + 1.96²) = 0.926 to 1, not 1 to 1."""
    low, high = RIGHT.interval([1.0] * n)
    expected = binomtest(n, n).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(expected.low, abs=1e-6), 1.0)
    assert low == pytest.approx(n / (n + 1.959964**2))
    exact = binomtest(n, n).proportion_ci(method="exact").low
    assert abs(low - exact) < 0.15 and RIGHT.interval([0.0] * n) == (0.0, pytest.approx(1 - low))
    middle = binomtest(n // 2 * 2, n // 2 * 4).proportion_ci(method="wilson")
    assert RIGHT.interval([0.5] * (n // 2 * 4)) == pytest.approx((middle.low, middle.high))


def test_without_spread_and_bounds_there_is_no_interval() -> None:
    assert all(map(math.isnan, MEAN.interval([3.0] * 20)))
    assert all(map(math.isnan, RIGHT.interval([1.0] * (FEWEST - 1))))
    assert RIGHT.ci95([1.0, 1.0]) is None and MEAN.ci95([1.0]) is None
    rated = Statistic("tests.rated", weighted_mean, bounds=(0.0, 2.0))
    low, high = rated.interval([2.0] * 10)
    assert (low, high) == (pytest.approx(2 * 10 / (10 + 1.959964**2)), 2.0)
    above = Statistic("tests.above", weighted_mean, bounds=(0.0, math.inf))
    assert all(map(math.isnan, above.interval([0.0] * 20)))


@given(st.lists(st.sampled_from([0.0, 0.2, 1.0]), max_size=30))
def test_an_interval_stays_within_the_bounds_and_around_the_value(items: list[float]) -> None:
    found = RIGHT.ci95(items)
    if found is None:
        assert len(items) < FEWEST
    else:
        assert 0 <= found[0] < found[1] <= 1
        assert found[0] - 1e-4 <= RIGHT(items) <= found[1] + 1e-4


def test_what_results_hold_is_json() -> None:
    values = [math.nan, math.inf, -math.inf, np.float32("nan"), [math.nan, 1.0], [0.0, math.inf]]
    assert [reported(value) for value in values] == [None] * 6
    for value in (0.5, 3, [0.25, 1.0], "N/A", None, True):
        assert reported(value) == value


def test_wilson_by_hand() -> None:
    # p = 0.5, n = 100, z = 1.96: centre 0.5, half-width 1.96/(1+.038416)·sqrt(.0025+.00009604)
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.40383, abs=1e-4), pytest.approx(0.59617, abs=1e-4))
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)
