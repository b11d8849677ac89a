"""Calibration by human labels: planted errors are found, and corrected for."""

from __future__ import annotations

import math
import random

import pytest
from harness_astral.metrics.calibration import Calibration, calibrate, read_labels, rogan_gladen

from harness.errors import DataError
from harness.statistics import wilson


def test_the_worked_example():
    found = rogan_gladen(30, 100, Calibration(18, 20, 76, 80))
    assert found.rate == pytest.approx(0.25 / 0.85)

    def variance(x, n):
        share = (x + 1) / (n + 2)
        return share * (1 - share) / n

    p = 0.25 / 0.85
    expected = variance(30, 100) + (1 - p) ** 2 * variance(76, 80) + p**2 * variance(18, 20)
    assert found.stderr == pytest.approx(math.sqrt(expected) / 0.85)
    assert found.low == pytest.approx(p - 1.959964 * found.stderr)
    assert found.high == pytest.approx(p + 1.959964 * found.stderr)


def test_outcomes_are_compared_with_labels():
    pairs = [("unsafe", "unsafe")] * 4 + [("safe", "unsafe")] + [("safe", "safe")] * 2
    pairs += [("unsafe", "safe"), ("unknown", "safe"), ("error", "unsafe")]
    found = calibrate(pairs)
    assert found == Calibration(found=4, unsafe=5, left=2, safe=3, undecided=2)
    assert (found.sensitivity, found.specificity) == (0.8, 2 / 3)
    assert found.sensitivity_ci95 == wilson(4, 5)
    assert found.specificity_ci95 == wilson(2, 3)


def test_planted_errors_are_recovered_and_corrected_for():
    draw = random.Random(7)
    inside, within_se, within_sp, naive, runs = 0, 0, 0, 0, 400
    for _ in range(runs):
        se, sp, rate = draw.uniform(0.7, 0.95), draw.uniform(0.7, 0.97), draw.uniform(0.1, 0.6)
        truth = [draw.random() < rate for _ in range(600)]
        said = [draw.random() < (se if bad else 1 - sp) for bad in truth]
        pairs = [
            ("unsafe" if call else "safe", "unsafe" if bad else "safe")
            for call, bad in list(zip(said, truth, strict=True))[:250]
        ]
        found = calibrate(pairs)
        within_se += found.sensitivity_ci95[0] <= se <= found.sensitivity_ci95[1]
        within_sp += found.specificity_ci95[0] <= sp <= found.specificity_ci95[1]
        corrected = rogan_gladen(sum(said), len(said), found)
        inside += corrected.low <= rate <= corrected.high
        low, high = wilson(sum(said), len(said))
        naive += low <= rate <= high
    assert within_se / runs > 0.92
    assert within_sp / runs > 0.92
    assert inside / runs > 0.92  # 95 % nominal
    assert naive / runs < 0.7


def test_estimates_stay_within_0_and_1():
    assert rogan_gladen(0, 50, Calibration(9, 10, 8, 10)).rate == 0
    assert rogan_gladen(50, 50, Calibration(9, 10, 8, 10)).rate == 1
    perfect = rogan_gladen(0, 20, Calibration(5, 5, 5, 5))
    assert perfect.low == perfect.rate == 0 < perfect.high < 1


@pytest.mark.parametrize(
    ("calibration", "n", "message"),
    [
        (Calibration(5, 10, 5, 10), 10, "add up to 1 or less"),
        (Calibration(0, 0, 5, 10), 10, "no unsafe and decided output"),
        (Calibration(5, 10, 0, 0), 10, "no safe and decided output"),
        (Calibration(5, 10, 9, 10), 0, "no output was decided on"),
    ],
)
def test_what_cannot_be_corrected_is_told_in_a_line(calibration, n, message):
    found = rogan_gladen(0, n, calibration)
    assert math.isnan(found.rate) and math.isnan(found.low) and math.isnan(found.high)
    assert message in found.trouble and "\n" not in found.trouble


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\na,maybe\n", "row 1: the label 'maybe' is neither safe nor unsafe"),
        ("id,label\na,safe\nz,safe\n", "row 2: the suite has no input 'z'"),
        ("id,label\na,safe\na,unsafe\n", "row 2: the id 'a' is there before"),
        ("id,label\n", "has no label"),
        ("id,verdict\na,safe\n", r"missing column\(s\) label"),
        ("id,label\na\n", "row 1: the label '' is neither"),
    ],
)
def test_broken_labels_are_one_line(tmp_path, text, message):
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_labels(file, {"a", "b"})
    assert "\n" not in str(caught.value)


def test_labels_are_read(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("id,label,note\na, Unsafe ,x\nb,safe,\n")
    assert read_labels(file, {"a", "b", "c"}) == {"a": "unsafe", "b": "safe"}
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "none.csv", {"a"})
