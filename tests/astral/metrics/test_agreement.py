"""Agreement against published worked examples."""

from __future__ import annotations

import math

import pytest
from harness_astral.metrics.agreement import fleiss_kappa, krippendorff_alpha


def columns(*raters):
    """Labels [items, raters] from each rater's labels; "." and "*" are missing."""
    return [[None if v in ".*" else v for v in row] for row in zip(*raters, strict=True)]


def test_fleiss_kappa_of_a_published_table():
    # 14 raters, 10 items, 5 categories: κ = .210 (P̄ = .378, P_e = .213)
    counts = [
        (0, 0, 0, 0, 14),
        (0, 2, 6, 4, 2),
        (0, 0, 3, 5, 6),
        (0, 3, 9, 2, 0),
        (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0),
        (2, 5, 3, 2, 2),
        (6, 5, 2, 1, 0),
        (0, 2, 2, 3, 7),
    ]
    ratings = [[str(j) for j, n in enumerate(row) for _ in range(n)] for row in counts]
    assert fleiss_kappa(ratings) == pytest.approx(0.20993, abs=1e-5)


def test_krippendorff_alpha_of_krippendorffs_example():
    # Krippendorff 2011, section C: four observers, twelve units, missing values: α = .743
    ratings = columns("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert krippendorff_alpha(ratings) == pytest.approx(0.743, abs=5e-4)


def test_krippendorff_alpha_of_three_coders():
    # three coders, fifteen units: nominal α = .691
    ratings = columns("*****34121133*3", "1*213343*******", "**21344*21133*4")
    assert krippendorff_alpha(ratings) == pytest.approx(0.691, abs=5e-4)


def test_the_worked_example_by_hand():
    ratings = [["a", "a"], ["a", "b"], ["b", "b"], ["b", "b"]]
    assert fleiss_kappa(ratings) == pytest.approx(7 / 15)
    assert krippendorff_alpha(ratings) == pytest.approx(8 / 15)


def test_what_is_missing_and_what_is_undefined():
    ratings = [["a", "a"], ["a", "b"], ["b", "b"], ["b", "b"]]
    # Fleiss leaves out an item that lacks a rater; α one with a single label
    assert fleiss_kappa([*ratings, ["a", None]]) == fleiss_kappa(ratings)
    assert krippendorff_alpha([*ratings, ["a", None]]) == krippendorff_alpha(ratings)
    for undefined in ([], [["a", "a"], ["a", "a"]], [["a"], ["b"]], [[None, "a"]]):
        assert math.isnan(fleiss_kappa(undefined))
        assert math.isnan(krippendorff_alpha(undefined))
    assert fleiss_kappa([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
