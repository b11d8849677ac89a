"""Intervals and standard errors against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics
from sklearn.metrics import roc_auc_score

from harness.statistics import Statistic, auroc, wilson


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


def test_wilson_by_hand() -> None:
    # p = 0.5, n = 100, z = 1.96: centre 0.5, half-width 1.96/(1+.038416)·sqrt(.0025+.00009604)
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.40383, abs=1e-4), pytest.approx(0.59617, abs=1e-4))
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)
