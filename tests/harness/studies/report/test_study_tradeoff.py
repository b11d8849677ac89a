"""What is gained against what is retained, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_results import Study, difference

from harness.leaderboard import Share, compared
from harness.studies.report import write_report
from harness.studies.report.matrix import matrix_of
from harness.studies.report.pictures import tradeoff_picture
from harness.studies.report.tradeoff import Tradeoff, front, kept_share, mean, tradeoff_of
from harness.studies.report.view import View


def acc(value: float, error: float = 0.03) -> dict[str, Any]:
    return {"acc,none": value, "acc_stderr,none": error}


def told(view: View) -> Tradeoff | str:
    return tradeoff_of(view, matrix_of(view))


def study_of(tmp_path: Path, **gains: float) -> Study:
    """Runs with a gain each, and what they have left on two tasks: 0.6 for plain."""
    study = Study(tmp_path)
    for number, (run, gain) in enumerate(gains.items()):
        study.done(run, "gain", acc(gain))
        study.done(run, "one", acc(0.6 - 0.1 * number), chance=0.2)
        study.done(run, "two", acc(0.6 - 0.05 * number), chance=0.4)
    return study


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(1, 1)], [True]),
        ([(1, 3), (2, 2), (3, 1)], [True, True, True]),
        ([(1, 3), (2, 2), (1, 2), (0, 3)], [True, True, False, False]),
        ([(1, 1), (1, 1), (0, 0)], [True, True, False]),
        ([(-1, 5), (100, -2), (100, -3)], [True, True, False]),
    ],
)
def test_the_front_is_what_nothing_dominates(
    points: list[tuple[float, float]], expected: list[bool]
) -> None:
    assert front(points) == expected


def test_a_mean_of_shares_adds_variances() -> None:
    """Half-widths 3 and 4 of two shares: √(9 + 16)/2 = 2.5."""
    assert mean([Share(80, 77, 83), Share(100, 96, 104)]) == Share(90, 87.5, 92.5)
    assert mean([Share(80, 77, 83), Share(100)]) == Share(90)


def test_what_is_retained_by_hand(tmp_path: Path) -> None:
    """s = 0.5, t = 0.6, c = 0.2: r = 0.3/0.4 = 75 %.

    Independent: Var = (0.0009 + 0.75² · 0.0009)/0.16, σ = 0.09375, half = 18.375 points.
    Paired, σ_d = 0.01: Cov(d, t) = −0.00005,
    Var = (0.0001 + 0.0625 · 0.0009 − 2 · 0.25 · 0.00005)/0.16 = 0.0008203125, half = 5.6137 points.
    """
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.6), chance=0.2)
    study.done("other", "t", acc(0.5), chance=0.2)
    own = matrix_of(study.view()).column(0)
    row, base = own["other"].row, own["plain"].row
    alone = kept_share(row, base, None)
    assert (alone.value, alone.high - alone.value) == pytest.approx((75, 18.375))
    paired = kept_share(row, base, difference("other", "t", -0.1, half=0.0196))
    assert (paired.value, paired.high - paired.value) == pytest.approx((75, 5.6137), abs=1e-4)
    assert kept_share(base, base, None) == Share(100)
    same = difference("other", "t", 0.0, low=None, high=None, p=1.0)
    assert kept_share(replace(row, value=0.6), base, same) == Share(100, 100, 100)


def test_it_is_the_leaderboard_s_share_and_interval(tmp_path: Path) -> None:
    study = Study(tmp_path)
    file = study.done("plain", "t", acc(0.6, 0.02), chance=0.2)
    study.done("other", "t", acc(0.5, 0.03), chance=0.2)
    view = study.view()
    own = matrix_of(view).column(0)
    rows = compared(view.table, teacher=str(file)).rows
    (expected,) = [row.retained for row in rows if row.value == 0.5]
    found = kept_share(own["other"].row, own["plain"].row, None)
    assert expected is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_points_and_front(tmp_path: Path) -> None:
    """Retained: 100; (0.3/0.4 + 0.15/0.2)/2 = 75; (0.2/0.4 + 0.1/0.2)/2 = 50."""
    study = study_of(tmp_path, plain=0.2, good=0.8, bad=0.7)
    found = told(study.view(gain="gain", retained=["one", "two"]))
    assert isinstance(found, Tradeoff)
    assert [point.kept.value for point in found.points] == pytest.approx([100, 75, 50])
    assert [point.front for point in found.points] == [True, True, False]
    assert (found.tasks, found.left_out) == (["one", "two"], [])


def test_a_task_that_says_nothing_is_left_out_for_all(tmp_path: Path) -> None:
    study = study_of(tmp_path, plain=0.2, good=0.8)
    study.done("plain", "guessed", acc(0.26), chance=0.25)
    study.done("good", "guessed", acc(0.9), chance=0.25)
    found = told(study.view(gain="gain", retained=["one", "guessed"]))
    assert isinstance(found, Tradeoff)
    assert found.tasks == ["one"]
    assert found.left_out == [
        "guessed is left out: the baseline is not shown to be better than guessing."
    ]


@pytest.mark.parametrize(
    ("metrics", "more", "why"),
    [
        (acc(0.5), {"up": False}, "less of it is better"),
        (acc(0.2), {"up": False, "chance": 0.25}, "not shown to be better than guessing"),
        ({"acc,none": 0.5}, {"chance": 0.2}, "has no interval"),
        (acc(0.1), {"chance": 0.25}, "not shown to be better than guessing"),
    ],
)
def test_why_a_task_says_nothing(
    tmp_path: Path, metrics: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    study = Study(tmp_path)
    study.done("plain", "gain", acc(0.5))
    study.done("plain", "t", metrics, **more)
    found = told(study.view(gain="gain", retained=["t"]))
    assert isinstance(found, str)
    assert found.startswith("t is left out: ") and why in found


def test_where_less_is_better_chance_says_what_there_is_to_lose(tmp_path: Path) -> None:
    """A Brier score of 0.1 where guessing has 0.25; 0.16 retains 0.09/0.15 = 60 %."""
    study = Study(tmp_path)
    for run, value in {"plain": 0.1, "other": 0.16}.items():
        study.done(run, "gain", acc(0.5))
        study.done(run, "t", acc(value), up=False, chance=0.25)
    found = told(study.view(gain="gain", retained=["t"]))
    assert isinstance(found, Tradeoff)
    assert [point.kept.value for point in found.points] == pytest.approx([100, 60])


def test_a_run_without_all_tasks_has_no_point(tmp_path: Path) -> None:
    study = study_of(tmp_path, plain=0.2, good=0.8)
    study.done("late", "gain", acc(0.9))
    study.done("late", "two", acc(0.6), chance=0.4)
    study.done("part", "gain", acc(0.9))
    study.done("part", "one", acc(0.6), chance=0.2, n=10)
    study.done("part", "two", acc(0.6), chance=0.4)
    found = told(study.view(gain="gain", retained=["one", "two"]))
    assert isinstance(found, Tradeoff)
    assert [point.run for point in found.points] == ["plain", "good"]
    assert found.left_out == [
        "late is left out: it has no value on one.",
        "part is left out: it has no value on as much of one as the baseline.",
    ]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "The study names no task of gains"),
        ({"gain": "gain"}, "The study names no task of gains"),
        ({"gain": "gain", "retained": ["one"], "baseline": None}, "names no baseline"),
        ({"gain": "absent", "retained": ["one"]}, "Of absent no run is done"),
        ({"gain": "gain", "retained": ["absent"]}, "absent is left out: the baseline, plain"),
    ],
)
def test_why_there_is_none(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    found = told(study_of(tmp_path, plain=0.2).view(**more))
    assert isinstance(found, str)
    assert sentence in found


@pytest.mark.parametrize("value", [1e300, -1e300, 1.7e308])
def test_what_is_too_large_to_be_drawn_is_left_out(tmp_path: Path, value: float) -> None:
    study = study_of(tmp_path, plain=0.2, good=0.8)
    study.done("huge", "gain", acc(value))
    study.done("huge", "one", acc(0.6), chance=0.2)
    study.done("wide", "gain", acc(0.5, 1e300))
    study.done("wide", "one", acc(value), chance=0.2)
    found = told(study.view(gain="gain", retained=["one"]))
    assert isinstance(found, Tradeoff)
    assert [point.run for point in found.points] == ["plain", "good"]
    assert found.left_out == [
        "wide is left out: it has no value on one.",
        "huge is left out: a value of it is too large to be drawn.",
    ]
    pair = difference("good", "one", value, low=-1.7e308, high=1.7e308)
    write_report(tmp_path / "a.html", study.view(gain="gain", retained=["one"], differences=[pair]))


def test_the_picture_names_its_runs(tmp_path: Path) -> None:
    study = study_of(tmp_path, plain=0.2, good=0.8, bad=0.7)
    found = told(study.view(gain="gain", retained=["one", "two"]))
    assert isinstance(found, Tradeoff)
    svg = tradeoff_picture(found, "plain", name="t", width=340, height=380)
    assert all(f">{run}</text>" in svg for run in ("plain", "good", "bad"))
    assert "on the Pareto front: plain, good." in svg
    assert "style=" not in svg


def test_a_method_measured_by_a_run_of_its_own_is_one_point(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for run, gain in (("plain", 0.1), ("steered", 0.9)):
        study.done(run, "gain", acc(gain))
    for run, kept in (("plain", 0.6), ("elsewhere", 0.5)):
        study.done(run, "one", acc(kept), chance=0.2)
    view = replace(study.view(), gain="gain", retained=("one",), baseline="plain")
    alone = told(view)
    assert isinstance(alone, Tradeoff) and [point.run for point in alone.points] == ["plain"]
    both = told(replace(view, measured_by={"steered": "elsewhere"}))
    assert isinstance(both, Tradeoff) and not both.left_out
    assert [point.run for point in both.points] == ["plain", "steered"]
    assert both.points[1].gain.value == 0.9
    assert both.points[1].kept.value == pytest.approx(75.0)  # (0.5 − 0.2)/(0.6 − 0.2)
