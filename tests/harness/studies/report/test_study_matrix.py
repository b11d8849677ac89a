"""Runs × tasks: what stands where, and who is called best."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from study_results import Study, difference

from harness.errors import HarnessError
from harness.reports import labels
from harness.studies.report import Failure, forest, summary, tradeoff, words
from harness.studies.report.matrix import Matrix, better, matrix_of, sure


def acc(value: float, error: float | str = 0.05) -> dict[str, Any]:
    return {"acc,none": value, "acc_stderr,none": error}


def best(matrix: Matrix, place: int = 0) -> set[str]:
    return {run for run, entry in matrix.column(place).items() if entry.best}


@pytest.mark.parametrize("module", [words, summary, tradeoff, forest, labels])
def test_the_examples_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_columns_are_in_the_study_s_order_and_parts_behind_their_group(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "zebra", acc(0.5))
    parts = {"b_part": acc(0.4), "a_part": acc(0.6)}
    study.written("plain", "many", parts, group=acc(0.5))
    study.done("plain", "apple", acc(0.5))
    columns = matrix_of(study.view()).columns
    assert [column.label for column in columns] == ["zebra", "many", "b_part", "a_part", "apple"]
    assert [column.head for column in columns] == [None, None, 1, 1, None]


def test_parts_without_a_value_of_the_group_stand_for_themselves(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.written("plain", "tag", {"one": acc(0.4), "two": acc(0.6)})
    assert [column.head for column in matrix_of(study.view()).columns] == [None, None]


def test_a_task_has_the_study_s_name_and_may_come_twice(tmp_path: Path) -> None:
    """arc at two temperatures, and one out of a YAML file: nothing in the results tells them."""
    study = Study(tmp_path)
    for name, evaluates, value in (("cold", "arc", 0.5), ("warm", "arc", 0.6)):
        study.written("plain", name, {"arc": acc(value)})
        study.cells[-1] = replace(study.cells[-1], evaluates=evaluates)
    study.written("plain", "mine", {"named_in_the_file": acc(0.7)})
    study.cells[-1] = replace(study.cells[-1], evaluates="tasks/mine.yaml")
    matrix = matrix_of(study.view())
    assert [column.label for column in matrix.columns] == ["cold", "warm", "mine"]
    assert [matrix.place(name) for name in ("cold", "warm", "mine", "arc")] == [0, 1, 2, None]
    values = [entry.row.value for entry in matrix.entries.values()]
    assert values == [0.5, 0.6, 0.7]


def test_a_tag_of_several_tasks_has_no_value_of_its_own(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.written("plain", "tag", {"one": acc(0.4), "two": acc(0.6)})
    assert matrix_of(study.view()).place("tag") is None


def test_an_entry_has_all_metrics_the_headline_first(tmp_path: Path) -> None:
    study = Study(tmp_path)
    metrics = {"f1,none": 0.1} | acc(0.5)
    study.done("plain", "t", metrics, metadata={"headline": "acc"})
    (entry,) = matrix_of(study.view()).entries.values()
    assert [row.metric for row in entry.others] == ["acc", "f1"]
    assert entry.row is entry.others[0]


def test_who_is_best_without_pairs_is_settled_by_independent_errors(tmp_path: Path) -> None:
    """1.96 √(0.05² + 0.05²) = 0.1386: 0.70 and 0.57 are not told apart, 0.70 and 0.56 are."""
    study = Study(tmp_path)
    for run, value in {"plain": 0.56, "near": 0.57, "first": 0.70}.items():
        study.done(run, "t", acc(value))
    assert best(matrix_of(study.view())) == {"first", "near"}


def test_pairs_tell_apart_what_independent_errors_do_not(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for run, value in {"plain": 0.60, "near": 0.65, "first": 0.70}.items():
        study.done(run, "t", acc(value))
    assert best(matrix_of(study.view())) == {"first", "near", "plain"}
    pairs = [difference("first", "t", 0.1), difference("near", "t", 0.05, half=0.06)]
    assert best(matrix_of(study.view(differences=pairs))) == {"first", "near"}


def test_pairs_join_what_independent_errors_tell_apart(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.5, 0.01))
    study.done("other", "t", acc(0.6, 0.01))
    pairs = [difference("other", "t", 0.1, half=0.2)]
    assert best(matrix_of(study.view())) == {"other"}
    assert best(matrix_of(study.view(differences=pairs))) == {"other", "plain"}


def test_where_less_is_better_the_least_is_best(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.1, 0.01), up=False)
    study.done("other", "t", acc(0.2, 0.01), up=False)
    matrix = matrix_of(study.view())
    assert best(matrix) == {"plain"}
    worse = difference("other", "t", 0.1, half=0.2, higher_is_better=False)
    assert best(matrix_of(study.view(differences=[worse]))) == {"plain", "other"}


def test_without_intervals_nobody_is_best(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.1, "N/A"))
    study.done("other", "t", acc(0.9, "N/A"))
    assert best(matrix_of(study.view())) == set()


def test_a_run_on_part_of_the_data_is_not_best_beside_full_ones(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.1))
    study.done("other", "t", acc(0.2))
    study.done("part", "t", acc(0.9), n=10)
    assert best(matrix_of(study.view())) == {"other", "plain"}


def test_other_judges_are_other_columns(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for run, judge in (("plain", "one"), ("other", "two")):
        study.done(run, "t", acc(0.5), metadata={"judge": {"model": judge}})
    matrix = matrix_of(study.view())
    assert [sorted(matrix.column(place)) for place in (0, 1)] == [["plain"], ["other"]]
    assert all("judge=" in column.label for column in matrix.columns)


def test_what_is_not_done_is_failed_or_missing(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.done("plain", "t", acc(0.5))
    study.planned("broken", "t")
    study.planned("late", "t")
    study.planned("late", "never")
    failed = [Failure(name="broken/t", line="no memory", log="broken.log")]
    matrix = matrix_of(study.view(failed=failed))
    states = {(run, at): state for (run, at), (_, state) in matrix.absent.items()}
    assert states == {("broken", 0): "failed", ("late", 0): "missing", ("late", 1): "missing"}
    assert [(column.label, column.contest is None) for column in matrix.columns] == [
        ("t", False),
        ("never", True),
    ]


def test_results_of_no_cell_are_an_error(tmp_path: Path) -> None:
    study = Study(tmp_path)
    file = study.done("plain", "t", acc(0.5))
    with pytest.raises(HarnessError, match=f"{file} is in the folder of no cell of this study"):
        matrix_of(study.view(cells=[]))


@pytest.mark.parametrize(
    ("value", "up", "expected"),
    [
        (0.1, True, True),
        (-0.1, True, False),
        (-0.1, False, True),
        (0.1, None, None),
        (0, True, None),
    ],
)
def test_better(value: float, up: bool | None, expected: bool | None) -> None:
    assert better(difference("run", "t", value, higher_is_better=up)) is expected


def test_sure_is_after_the_correction() -> None:
    assert sure(difference("run", "t", 0.1, p=0.001, p_holm=0.049))
    assert not sure(difference("run", "t", 0.1, p=0.001, p_holm=0.05))
    assert not sure(difference("run", "t", 0.1, p_holm=None))
    assert not sure(None)
