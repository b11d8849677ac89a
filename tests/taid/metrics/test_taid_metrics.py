"""Metrics over tokens and rows, by hand and by numpy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from harness_taid import metrics
from harness_taid.metrics import Measured, texts


def items(seed=0, rows=7):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, size=rows)
    names = (
        "forward_kl",
        "tvd",
        "top1",
        "student_entropy",
        "teacher_entropy",
        "reference_forward_kl",
    )
    return [Measured({n: rng.exponential(size=size).tolist() for n in names}) for size in sizes]


def test_means_are_over_all_tokens():
    found = [Measured({"forward_kl": [1.0, 3.0]}), {"forward_kl": [5.0]}]
    assert metrics.forward_kl(found) == 3.0
    assert metrics.acceptance([{"tvd": [0.25, 0.5]}, {"tvd": [0.0]}]) == pytest.approx(0.75)
    assert metrics.entropy_gap(
        [{"student_entropy": [1.0, 2.0], "teacher_entropy": [0.5, 0.5]}]
    ) == pytest.approx(1.0)
    assert metrics.teacher_tail_mass([{"teacher_head": [0.9, 0.7]}]) == pytest.approx(0.2)
    assert metrics.exposure_bias(
        [
            {"forward_kl": [1.0, 2.0], "reference_forward_kl": [1.0]},
            {"forward_kl": [3.0], "reference_forward_kl": [0.0, 0.0, 1.0]},
        ]
    ) == pytest.approx(2.0 - 0.5)


def test_perplexity_is_of_all_tokens_and_its_interval_of_rows():
    found = [{"student_nll": [math.log(2), math.log(8)]}, {"student_nll": [math.log(4)]}]
    assert metrics.student_perplexity(found) == pytest.approx(4.0)
    assert metrics.teacher_perplexity([{"teacher_nll": [0.0, 0.0]}]) == 1.0
    low, high = metrics.student_perplexity_ci95(
        [{"student_nll": [x, x]} for x in (math.log(2), math.log(8)) for _ in range(8)]
    )
    assert 2 < low < 4 < high < 8


@pytest.mark.parametrize("percent", [90, 99])
def test_quantiles_are_numpys_with_and_without_weights(percent):
    found = items()
    values = np.concatenate([item["forward_kl"] for item in found])
    statistic = {90: metrics.forward_kl_q90, 99: metrics.forward_kl_q99}[percent]
    expected = np.quantile(values, percent / 100, method="inverted_cdf")
    assert statistic(found) == expected
    weights = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), size=50).astype(float)
    resampled = metrics.quantile("forward_kl", percent / 100, found, weights)
    for drawn, value in zip(weights.astype(int), resampled, strict=True):
        repeated = [x for item, n in zip(found, drawn, strict=True) for x in item["forward_kl"] * n]
        assert value == np.quantile(repeated, percent / 100, method="inverted_cdf")


def test_intervals_resample_rows():
    alike = [Measured({"forward_kl": [0.0, 10.0]}) for _ in range(5)]
    assert metrics.forward_kl.stderr(alike) == 0.0
    apart = [Measured({"forward_kl": [x, x]}) for x in (0.0, 10.0) for _ in range(8)]
    assert metrics.forward_kl.stderr(apart) == pytest.approx(5 / 4, rel=0.1)  # 16 rows, not 32
    low, high = metrics.forward_kl_ci95(apart)
    assert low < 5 < high


def test_calibration_by_hand():
    found = [
        {"confidence": [0.9, 0.95], "correct": [1.0, 0.0]},
        {"confidence": [0.2, 1.0], "correct": [0.0, 1.0]},
    ]
    # Bins of 1/15: 0.9 and 0.95 are in (13/15, 14/15] and (14/15, 1], the latter with 1.0.
    expected = (abs(1 - 0.9) + abs((0 - 0.95) + (1 - 1.0)) + abs(0 - 0.2)) / 4
    assert metrics.ece(found) == pytest.approx(expected)


def test_samples_show_a_number_of_tokens():
    from lm_eval.utils import handle_non_serializable

    item = Measured({"forward_kl": [0.1, 0.2, 0.3]})
    assert json.dumps(item, default=handle_non_serializable) == '"3 tokens"'


def test_texts_by_hand():
    # Longest common subsequence "the cat mat": precision 3/4, recall 3/6.
    assert texts.rouge_l("the cat a mat", "the cat sat on the mat") == pytest.approx(0.6)
    assert texts.rouge_l("", "anything") == 0.0
    assert texts.distinct(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert texts.distinct(["a b a", "a b"], 3) == 1.0
    assert math.isnan(texts.distinct(["a"], 2))
    found = [
        metrics.answer_figures("one two", "one two three four"),
        metrics.answer_figures("x", "y"),
    ]
    assert metrics.length_ratio(found) == pytest.approx(3 / 5)
    assert metrics.rouge_l(found) == pytest.approx((2 / 3 + 0) / 2)
    assert [metrics.distinct_1(["a a"]), metrics.distinct_2(["a a"])] == [0.5, 1.0]
    assert math.isnan(metrics.distinct_3(["a a"]))
