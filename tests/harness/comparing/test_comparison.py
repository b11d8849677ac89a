"""Runs against a baseline: what is compared, how, and what is not."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_runs import DATE, samples_file, save, task
from sklearn.metrics import f1_score, matthews_corrcoef

from harness.comparing import Comparisons, Difference, compare, named, write_csv
from harness.errors import HarnessError
from harness.statistics import holm, mcnemar, tango

RIGHT = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
BETTER = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def compared(*folders: Path, **options: Any) -> Comparisons:
    return compare({f.name: [f] for f in folders}, folders[0].name, **options)


def only(found: Comparisons) -> Difference:
    assert not found.uncompared and len(found.differences) == 1
    return found.differences[0]


def reasons(found: Comparisons) -> list[str]:
    assert not found.differences
    return [one.reason for one in found.uncompared]


def test_a_difference_by_hand(tmp_path: Path) -> None:
    """Three documents are right in the second run alone, none in the first alone."""
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task(BETTER)})
    one = only(compared(a, b))
    assert (one.task, one.metric, one.filter, one.baseline, one.run) == (
        "quiz", "acc", "none", "a", "b",
    )  # fmt: skip
    assert (one.baseline_value, one.value, one.difference) == (0.5, 0.875, 0.375)
    assert (one.documents, one.units, one.left_out) == (8, 8, 0)
    assert one.test == "mcnemar" and one.p == one.p_holm == mcnemar((4, 3, 0, 1)) == 0.25
    assert (one.low, one.high) == tango((4, 3, 0, 1)) and one.higher_is_better is True


def test_holm_is_over_all_differences_of_the_call(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = []
    for name, share in (("a", 0.5), ("b", 0.6), ("c", 0.9)):
        made = {f"t{k}": task(list((rng.random(80) < share).astype(float))) for k in range(2)}
        runs.append(save(tmp_path / name, made))
    found = compared(*runs).differences
    assert [(one.task, one.run) for one in found] == [
        ("t0", "b"), ("t0", "c"), ("t1", "b"), ("t1", "c"),
    ]  # fmt: skip
    assert [one.p_holm for one in found] == holm([one.p for one in found])
    assert found[1].p_holm > found[1].p


def test_documents_are_paired_by_number_and_row_whatever_the_order(tmp_path: Path) -> None:
    first, second = task(RIGHT), task(BETTER)
    second["lines"].reverse()
    for line in second["lines"]:  # a chat template, or a method's instruction
        line["prompt_hash"] = "another"
    a, b = save(tmp_path / "a", {"quiz": first}), save(tmp_path / "b", {"quiz": second})
    assert only(compared(a, b)).p == 0.25
    for line in second["lines"]:
        line["doc_hash"] = "other rows"
    save(b, {"quiz": second})
    assert reasons(compared(a, b)) == ["no common documents"]


def test_a_limited_run_is_compared_on_the_common_documents(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task(BETTER[:6])}, limit=6)
    one = only(compared(a, b))
    assert (one.documents, one.left_out, one.baseline_value) == (6, 2, 0.5)


def test_real_values_are_bootstrapped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.random(60)
    a = save(tmp_path / "a", {"quiz": task(list(values), metric="rouge")})
    b = save(tmp_path / "b", {"quiz": task(list(values + 0.05 * rng.random(60)), metric="rouge")})
    one = only(compared(a, b))
    assert one.test == "bootstrap" and one.low > 0 and one.p < 0.001
    assert one.low < one.difference < one.high
    again = only(compared(a, b))
    assert again == one and only(compared(a, b, seed=1)).low != one.low


def test_a_document_without_a_value_counts_in_neither_run(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task([1.0, None, 0.5, 0.0], value=0.5)})
    b = save(tmp_path / "b", {"quiz": task([0.5, 1.0, 0.25, 0.25])})
    one = only(compared(a, b))
    assert (one.units, one.left_out, one.documents) == (3, 1, 4)
    assert one.value == pytest.approx(1 / 3)


PAIRS = [[1, 1], [1, 0], [0, 0], [1, 1], [0, 1], [0, 0], [1, 1], [0, 0]]
OTHERS = [[1, 1], [1, 1], [0, 0], [1, 1], [0, 0], [0, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("metric", "values", "aggregate"),
    [
        ("perplexity", [-1.0, -2.0, -1.5, -0.5], lambda v: math.exp(-sum(v) / len(v))),
        (
            "word_perplexity",
            [[-10.0, 4], [-6.0, 3], [-12.0, 8]],
            lambda v: math.exp(-sum(a for a, _ in v) / sum(b for _, b in v)),
        ),
        (
            "bits_per_byte",
            [[-10.0, 40], [-6.0, 33], [-12.0, 80]],
            lambda v: -sum(a for a, _ in v) / sum(b for _, b in v) / math.log(2),
        ),
        ("f1", PAIRS, lambda v: f1_score(*zip(*v, strict=True))),
        ("mcc", PAIRS, lambda v: matthews_corrcoef(*zip(*v, strict=True))),
        ("mcc", [[k % 3, (k + k // 5) % 3] for k in range(30)],
         lambda v: matthews_corrcoef(*zip(*v, strict=True))),
    ],
)  # fmt: skip
def test_lm_evals_own_aggregations(tmp_path: Path, metric: str, values, aggregate) -> None:
    a = save(tmp_path / "a", {"quiz": task(values, metric=metric, value=aggregate(values))})
    other = values[::-1] if metric != "f1" else OTHERS
    b = save(tmp_path / "b", {"quiz": task(other, metric=metric, value=aggregate(other))})
    one = only(compared(a, b))
    assert one.baseline_value == pytest.approx(aggregate(values))
    assert one.value == pytest.approx(aggregate(other)) and one.test == "bootstrap"


def test_a_value_that_no_known_aggregation_gives_is_not_compared(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT, value=0.7)})
    b = save(tmp_path / "b", {"quiz": task(BETTER, value=0.9)})
    assert "no known aggregation makes its value" in reasons(compared(a, b))[0]
    c = save(
        tmp_path / "c", {"quiz": task([["a hypothesis", "a text"]] * 4, metric="bleu", value=3)}
    )
    d = save(tmp_path / "d", {"quiz": task([["a", "b"]] * 4, metric="bleu", value=4)})
    assert "no known aggregation makes its value" in reasons(compared(c, d))[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {"version": 2.0}}, "another version of the task"),
        ({"metadata": {"version": 1.0, "data_sha256": "ab"}}, "other data"),
        ({"dataset_path": "elsewhere"}, "other data"),
        ({"test_split": "dev"}, "another split"),
        ({"num_fewshot": 5}, "another number of shots"),
        ({"metadata": {"version": 1.0, "judge": {"model": "gpt"}}}, "another judge"),
    ],
)
def test_only_like_is_compared_with_like(tmp_path: Path, change: dict, reason: str) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task(BETTER, **change)})
    assert reasons(compared(a, b)) == [reason]


def test_other_tasks_metrics_and_filters_are_told(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT), "own": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task(BETTER, filter_name="strict"), "more": task(RIGHT)})
    found = compared(a, b)
    assert not found.differences
    assert {(one.task, one.reason) for one in found.uncompared} == {
        ("quiz", "the run does not have acc,none"),
        ("own", "the run does not have this task"),
        ("more", "the baseline does not have this task"),
    }


def test_without_samples_there_is_nothing_to_pair(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task(BETTER)}, samples=False)
    assert reasons(compared(a, b)) == [
        "b: its samples are not there: run lm_eval with --log_samples"
    ]


def grouped(folder: Path, one: list[float], other: list[float], by_size: bool) -> Path:
    tasks = {"suite_a": task(one), "suite_b": task(other)}
    means = sum(one) / len(one), sum(other) / len(other)
    both = sum(one + other) / len(one + other) if by_size else sum(means) / 2
    group = {"acc,none": both, "sample_len": len(one + other)}
    return save(folder, tasks, groups={"suite": (group, ["suite_a", "suite_b"])})


@pytest.mark.parametrize("by_size", [False, True])
def test_a_group_stands_for_its_tasks(tmp_path: Path, by_size: bool) -> None:
    a = grouped(tmp_path / "a", RIGHT, [0.0] * 4, by_size)
    b = grouped(tmp_path / "b", BETTER, [1.0, 0.0, 0.0, 0.0], by_size)
    one = only(compared(a, b))
    assert (one.task, one.documents, one.test) == ("suite", 12, "bootstrap")
    assert one.difference == pytest.approx(4 / 12 if by_size else (0.375 + 0.25) / 2)
    assert one.low < one.difference < one.high
    whole = compared(a, b, subtasks=True)
    assert [d.task for d in whole.differences] == ["suite", "suite_a", "suite_b"]


def test_a_group_with_an_unlike_task_is_told_and_the_others_are_compared(tmp_path: Path) -> None:
    a = grouped(tmp_path / "a", RIGHT, [0.0] * 4, by_size=False)
    b = grouped(tmp_path / "b", BETTER, [1.0, 0.0, 0.0, 0.0], by_size=False)
    samples_file(b, "suite_b").unlink()
    found = compared(a, b)
    assert [one.task for one in found.differences] == ["suite_a"]
    assert [one.reason.partition(":")[0] for one in found.uncompared] == ["suite_b", "b"]


def test_the_headline_metric_is_the_leaderboards(tmp_path: Path) -> None:
    def both(values: list[float]) -> dict[str, Any]:
        made = task(values, metadata={"version": 1.0, "headline": "acc"})
        made["entry"]["len,none"] = 3.0
        for line in made["lines"]:
            line["len"] = 3
        return made

    a, b = save(tmp_path / "a", {"q": both(RIGHT)}), save(tmp_path / "b", {"q": both(BETTER)})
    assert only(compared(a, b)).metric == "acc"
    every = compared(a, b, all_metrics=True).differences
    assert [(one.metric, one.difference, one.p) for one in every] == [
        ("acc", 0.375, 0.25), ("len", 0.0, 1.0),
    ]  # fmt: skip


def test_lines_of_an_older_lm_eval_are_read(tmp_path: Path) -> None:
    """0.4.3 does not say the filter, nor which metrics there are."""
    first, second = task(RIGHT), task(BETTER)
    for line in (*first["lines"], *second["lines"]):
        del line["filter"], line["metrics"]
    a, b = save(tmp_path / "a", {"quiz": first}), save(tmp_path / "b", {"quiz": second})
    assert only(compared(a, b)).p == 0.25


def test_runs_are_named_as_on_the_leaderboard(tmp_path: Path) -> None:
    same = {"quiz": task(RIGHT)}
    one = save(tmp_path / "1", same, model="org/m", method="diffmean")
    two = save(tmp_path / "2", same, model="org/m")
    three = save(tmp_path / "3", same, model="org/m")
    assert named([one, two, three, two]) == {
        "org/m diffmean": [one],
        f"org/m ({two})": [two],
        f"org/m ({three})": [three],
    }


def test_a_folder_of_two_models_is_refused(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    save(tmp_path / "b" / "one", {"quiz": task(RIGHT)})
    save(tmp_path / "b" / "two", {"quiz": task(BETTER)})
    with pytest.raises(HarnessError, match="b holds results of quiz by several models or methods"):
        compared(a, tmp_path / "b")


def spoilt(kind: str, lines: list[dict[str, Any]]) -> str:
    if kind == "twice":
        lines[1] = lines[0]
    elif kind == "no number":
        lines[1]["doc_id"] = "1"
    elif kind == "no hash":
        lines[1]["doc_hash"] = 7
    elif kind == "filter":
        lines[1]["filter"] = []
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if kind == "cut":
        return text[: len(text) // 2 + 40]
    if kind == "short":
        return "".join(json.dumps(line) + "\n" for line in lines[:3])
    return "[" * 100_000 + "\n" if kind == "deep" else text


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("twice", "line 2: document 0 is there twice"),
        ("no number", "line 2: doc_id is no whole number"),
        ("no hash", "line 2: doc_hash is no hash"),
        ("filter", "line 2 does not say which filter"),
        ("cut", "line 5: not valid JSON"),
        ("short", "holds 3 of 8 samples"),
        ("deep", "line 1: nested too deeply"),
    ],
)
def test_damaged_samples_are_one_line(tmp_path: Path, kind: str, message: str) -> None:
    a, b = (save(tmp_path / name, {"quiz": task(RIGHT)}) for name in "ab")
    samples_file(b, "quiz").write_text(spoilt(kind, task(BETTER)["lines"]), encoding="utf-8")
    (reason,) = reasons(compared(a, b))
    assert re.search(message, reason)
    assert "\n" not in reason and "samples_quiz" in reason


def test_damaged_samples_of_one_run_stop_no_other(tmp_path: Path) -> None:
    a, b, c = (save(tmp_path / name, {"quiz": task(RIGHT)}) for name in "abc")
    samples_file(b, "quiz").write_text(spoilt("short", task(BETTER)["lines"]))
    found = compare({"a": [a], "b": [b], "c": [c]}, "a")
    assert [one.run for one in found.differences] == ["c"]
    (left,) = found.uncompared
    assert left.run == "b" and "holds 3 of 8 samples" in left.reason


def test_samples_that_are_a_link_or_a_pipe_are_not_read(tmp_path: Path) -> None:
    import os

    a, b = (save(tmp_path / name, {"quiz": task(RIGHT)}) for name in "ab")
    file = samples_file(b, "quiz")
    file.unlink()
    file.symlink_to(samples_file(a, "quiz"))
    with pytest.raises(HarnessError, match="is a link"):
        compared(a, b)
    file.unlink()
    os.mkfifo(file)
    assert "not a regular file" in str(reasons(compared(a, b)))


@pytest.mark.parametrize("value", [1e308, -1e308, "x", {"a": 1}, [1, [2]], 10**400, True])
def test_odd_values_are_no_traceback(tmp_path: Path, value: Any) -> None:
    a = save(tmp_path / "a", {"quiz": task(RIGHT)})
    b = save(tmp_path / "b", {"quiz": task([*BETTER[1:], value], value=1.0)})
    found = compared(a, b)
    assert len(found.differences) + len(found.uncompared) == 1


def test_the_csv_has_a_line_for_everything(tmp_path: Path) -> None:
    a = save(tmp_path / "a", {"=cmd()": task(RIGHT), "z": task(RIGHT)})
    b = save(tmp_path / "b", {"=cmd()": task(BETTER)})
    write_csv(compared(a, b), tmp_path / "out.csv")
    head, first, second = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith("task,metric,filter,baseline,run") and head.endswith("left_out,reason")
    assert first.startswith("'=cmd(),acc,none,a,b,true,8,8,0.5,0.875,0.375,")
    assert second.startswith("z,,,a,b,") and second.endswith("the run does not have this task")
    assert DATE in str(samples_file(a, "z"))
