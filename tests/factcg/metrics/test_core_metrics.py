from __future__ import annotations

import math

import pytest
from harness_factcg.metrics.core import (
    acc_core,
    acc_core_ci95,
    answers,
    prec_core,
    prec_core_ci95,
    recall,
    threshold,
)

from harness.statistics import wilson


def items(*pairs):
    """Both rows of each pair, all documents first: the order does not matter."""
    found = [{"pair": k, "label": 1, "margin": pos} for k, (pos, _) in enumerate(pairs)]
    return found + [{"pair": k, "label": 0, "margin": neg} for k, (_, neg) in enumerate(pairs)]


MIXED = items((2.0, -1.0), (1.0, 0.5), (-0.5, -2.0), (-0.5, 0.3), (0.1, 0.0))


def test_by_hand():
    # told apart: the first and the last of five; accepted: the first two and the last
    assert acc_core(MIXED) == pytest.approx(2 / 5)
    assert prec_core(MIXED) == pytest.approx(2 / 3)
    assert recall(MIXED) == pytest.approx(3 / 5)


def test_errors_and_intervals():
    assert acc_core.stderr(MIXED) == pytest.approx(math.sqrt(0.4 * 0.6 / 5))
    assert acc_core_ci95(MIXED) == [round(bound, 4) for bound in wilson(2, 5)]
    assert prec_core_ci95(MIXED) == [round(bound, 4) for bound in wilson(2, 3)]
    assert repr(acc_core) == "harness_factcg.metrics.core.acc_core"


def test_a_checker_that_accepts_nothing_has_no_precision():
    none = items((-1.0, -2.0), (-1.0, 1.0))
    assert (acc_core(none), prec_core(none), recall(none)) == (0.0, 0.0, 0.0)
    assert prec_core_ci95(none) == [0.0, 1.0]
    assert math.isnan(prec_core.stderr(none))


def test_half_a_pair_does_not_count():
    assert answers(MIXED[:7]) == [(True, False), (True, True)]
    assert math.isnan(acc_core(MIXED[:5]))


def test_a_threshold_of_ones_own():
    """σ(.1) = .525 and σ(1) = .731: at .6 the last pair is not accepted, at .8 only the first."""
    for theta, acc, prec in ((0.6, 1 / 5, 1 / 2), (0.8, 1 / 5, 1.0)):
        given = [item | {"threshold": theta} for item in MIXED]
        assert (acc_core(given), prec_core(given)) == (pytest.approx(acc), pytest.approx(prec))


def test_a_tuned_threshold_by_hand():
    """On dev every θ from .38 to .54 tells both apart; the lowest counts, and accepts −0.4 too."""
    dev = [("d", 1, 0.2), ("d", 0, -0.5)]
    pairs = [(0, 1, 0.1), (0, 0, -0.6), (1, 1, -0.4), (1, 0, -0.7), (2, 1, -0.5), (2, 0, -2.0)]
    given = [
        {"pair": k, "label": label, "margin": margin, "threshold": None, "split": split}
        for split, rows in (("dev", dev), ("test", pairs))
        for k, label, margin in rows
    ]
    assert threshold(given) == 0.38
    assert acc_core(given) == pytest.approx(2 / 3)
    assert acc_core([item | {"threshold": 0.5} for item in given]) == pytest.approx(1 / 3)
    assert math.isnan(threshold(given[1:])) and math.isnan(acc_core(given[1:]))
