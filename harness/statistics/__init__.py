"""Intervals, standard errors and tests, of one run and of two runs on the same documents."""

from __future__ import annotations

from harness.statistics.bootstrap import (
    FEWEST,
    RESAMPLES,
    Interval,
    Mean,
    Measure,
    Noting,
    Parts,
    Statistic,
    Weighted,
    mean_parts,
    reported,
    weighted_mean,
)
from harness.statistics.corrections import holm
from harness.statistics.paired import (
    Pair,
    Stratified,
    Tested,
    difference_test,
    pair,
)
from harness.statistics.ranks import auroc
from harness.statistics.shares import Bounds, Floats, Fourfold, mcnemar, tango, wilson

__all__ = [
    "FEWEST",
    "RESAMPLES",
    "Bounds",
    "Floats",
    "Fourfold",
    "Interval",
    "Mean",
    "Measure",
    "Noting",
    "Pair",
    "Parts",
    "Statistic",
    "Stratified",
    "Tested",
    "Weighted",
    "auroc",
    "difference_test",
    "holm",
    "mcnemar",
    "mean_parts",
    "pair",
    "reported",
    "tango",
    "weighted_mean",
    "wilson",
]
