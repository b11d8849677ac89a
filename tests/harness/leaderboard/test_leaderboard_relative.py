"""Shares of a teacher's score, and of the gap to it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from browsing import quiet, texts
from leaderboard_samples import document, save, task
from typer.testing import CliRunner

from harness.cli.leaderboard import leaderboard
from harness.errors import HarnessError
from harness.leaderboard import Row, compared, read_results, write_csv, write_html, write_wide

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from harness.leaderboard import Table


def scored(
    model: str, value: float, *, stderr: float | None = 0.01, up: bool = True, n: int = 100,
    metadata: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **run: Any,
) -> dict[str, Any]:  # fmt: skip
    metrics: dict[str, Any] = {"acc,none": value, "f1,none": value / 2}
    if stderr is not None:
        metrics["acc_stderr,none"] = stderr
    stated = {"headline": "acc"} | (metadata or {})
    part = task(metrics, up=up, metadata=stated, effective=n, **(config or {}))
    return document({"quiz": part}, model_args={"pretrained": model}, **run)


def board(folder: Path, *contents: dict[str, Any]) -> Table:
    return read_results([save(folder, content, str(i)) for i, content in enumerate(contents)])


def three(folder: Path, **options: Any) -> Table:
    values = {"org/teacher": 0.7, "org/base": 0.5, "org/student": 0.6}
    return board(folder, *(scored(name, value, **options) for name, value in values.items()))


def row(table: Table, model: str = "org/student") -> Row:
    return next(r for r in table.rows if r.run.model == model and r.metric == "acc")


CHOICES = {"output_type": "multiple_choice", "doc_to_choice": ["a", "b", "c", "d"]}


def test_the_worked_example_with_intervals(tmp_path: Path) -> None:
    table = three(tmp_path, config=CHOICES, stderr=0.02)
    found = row(compared(table, teacher="org/teacher", base="org/base"))
    assert found.chance == 0.25
    share, gain = 0.35 / 0.45, 0.5
    assert found.retained is not None and found.recovered is not None
    assert found.retained.value == pytest.approx(100 * share)
    half = 196 * math.sqrt(0.02**2 + (share * 0.02) ** 2) / 0.45
    assert found.retained.low == pytest.approx(100 * share - half)
    assert found.retained.high == pytest.approx(100 * share + half)
    assert found.recovered.value == pytest.approx(100 * gain)
    half = 196 * math.sqrt(0.02**2 * (1 + gain**2 + (1 - gain) ** 2)) / 0.2
    assert found.recovered.low == pytest.approx(50 - half)


def test_the_delta_method_against_simulation(tmp_path: Path) -> None:
    import numpy as np

    table = three(tmp_path, stderr=0.005)
    found = row(compared(table, teacher="org/teacher", base="org/base")).recovered
    rng = np.random.default_rng(0)
    s, t, b = (rng.normal(mean, 0.005, 200_000) for mean in (0.6, 0.7, 0.5))
    low, high = np.quantile(100 * (s - b) / (t - b), [0.025, 0.975])
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=0.2), pytest.approx(high, abs=0.2))


def test_teacher_and_base_themselves(tmp_path: Path) -> None:
    table = compared(three(tmp_path), teacher="org/teacher", base="org/base")
    best, first = row(table, "org/teacher"), row(table, "org/base")
    assert best.retained is not None and best.retained.value == 100 and best.retained.low is None
    assert best.recovered is not None and best.recovered.value == pytest.approx(100)
    assert first.recovered is not None and first.recovered.value == 0
    assert first.recovered.low is None
    others = [r for r in table.rows if r.metric == "f1"]
    assert others and all(r.retained is None for r in others)  # headline metrics alone


def test_chance_is_stated_or_counted_or_unknown(tmp_path: Path) -> None:
    for number, (options, chance, retained) in enumerate(
        (
            ({"metadata": {"chance": 0.4}}, 0.4, 2 / 3),
            ({"metadata": {"chance": {"acc": 0.3}}, "config": CHOICES}, 0.3, 3 / 4),
            ({"metadata": {"chance": {"f1": 0.3}}}, None, 6 / 7),
            ({"config": CHOICES}, 0.25, 7 / 9),
            ({"config": CHOICES | {"doc_to_choice": "{{choices}}"}}, None, 6 / 7),
            ({"config": CHOICES | {"output_type": "generate_until"}}, None, 6 / 7),
            ({}, None, 6 / 7),
        )
    ):
        found = row(compared(three(tmp_path / str(number), **options), teacher="org/teacher"))
        assert found.chance == chance
        assert found.retained is not None and found.retained.value == pytest.approx(100 * retained)
        assert found.recovered is None


def test_a_groups_chance_is_its_tasks(tmp_path: Path) -> None:
    def grouped(model: str, value: float, other: int) -> dict[str, Any]:
        parts = {
            name: task({"acc,none": value}, **(CHOICES | {"doc_to_choice": ["x"] * count}))
            for name, count in (("one", 4), ("two", other))
        }
        groups = {"both": ({"acc,none": value}, ["one", "two"])}
        return document(parts, groups=groups, model_args={"pretrained": model})

    for other, chance in ((4, 0.25), (2, None)):
        table = board(tmp_path / str(other), grouped("m", 0.5, other))
        assert next(r for r in table.rows if r.task.task == "both").chance == chance


def test_less_is_better(tmp_path: Path) -> None:
    values = {"org/teacher": 2.0, "org/base": 4.0, "org/student": 2.5}
    table = board(tmp_path, *(scored(name, value, up=False) for name, value in values.items()))
    found = row(compared(table, teacher="org/teacher", base="org/base"))
    assert found.retained is None
    assert found.recovered is not None and found.recovered.value == pytest.approx(75)


def test_nothing_is_divided_by_nothing(tmp_path: Path) -> None:
    values = {"org/teacher": 0.5, "org/base": 0.5, "org/student": 0.6}
    contents = [scored(m, v, metadata={"chance": 0.5}) for m, v in values.items()]
    found = row(compared(board(tmp_path, *contents), teacher="org/teacher", base="org/base"))
    assert found.retained is None and found.recovered is None


def test_no_interval_without_standard_errors(tmp_path: Path) -> None:
    table = compared(three(tmp_path, stderr=None), teacher="org/teacher", base="org/base")
    for share in (row(table).retained, row(table).recovered):
        assert share is not None and share.low is None and share.high is None


def test_noise_is_not_divided_by_noise(tmp_path: Path) -> None:
    """A gap of 0.2 between two scores of a standard error of 0.1 each."""
    table = compared(three(tmp_path, stderr=0.1), teacher="org/teacher", base="org/base")
    assert all(row(table, f"org/{m}").recovered is None for m in ("student", "teacher", "base"))
    assert row(table).retained is not None


def test_only_what_may_be_compared_is(tmp_path: Path) -> None:
    contents = [
        scored("t", 0.8),
        scored("other-data", 0.4, metadata={"data_sha256": "ff"}),
        scored("part", 0.4, n=10, limit=10),
        scored("full", 0.4),
    ]
    table = compared(board(tmp_path, *contents), teacher="t")
    found = {m: row(table, m).retained for m in ("other-data", "part", "full")}
    assert found["other-data"] is None and found["part"] is None and found["full"] is not None
    contents.append(scored("t", 0.5, n=10, limit=10, date=1_760_000_001.0))
    contents.append(scored("less", 0.4, n=5, limit=5))
    table = compared(board(tmp_path / "more", *contents), teacher="t")
    part, full = row(table, "part").retained, row(table, "full").retained
    assert part is not None and part.value == pytest.approx(80)
    assert full is not None and full.value == pytest.approx(50)
    assert row(table, "less").retained is None


def test_a_run_has_many_names(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "teacher"
    file = save(folder, scored("org/teacher", 0.8))
    save(tmp_path / "runs" / "student", scored("org/student", 0.4))
    table = read_results([tmp_path / "runs"])
    run_id = row(table, "org/teacher").run.run_id
    for name in ("org/teacher", "teacher", run_id, str(file), str(folder)):
        found = row(compared(table, teacher=name)).retained
        assert found is not None and found.value == pytest.approx(50)


def test_unknown_and_ambiguous_runs_are_one_line(tmp_path: Path) -> None:
    table = three(tmp_path)
    with pytest.raises(
        HarnessError, match="--teacher nobody is none of the runs: org/teacher, org/base, org/stu"
    ):
        compared(table, teacher="nobody")
    with pytest.raises(HarnessError, match="--base x is none of the runs"):
        compared(table, teacher="org/teacher", base="x")
    many = board(tmp_path / "many", *(scored(f"m{k}", 0.5) for k in range(15)))
    with pytest.raises(HarnessError, match=r"m0, .*, m11 and 3 more$"):
        compared(many, teacher="nobody")
    twice = board(tmp_path / "two", scored("m", 0.5, method="a"), scored("m", 0.6, method="b"))
    with pytest.raises(
        HarnessError, match=r"--teacher m names runs of quiz that differ: .*results_0"
    ):
        compared(twice, teacher="m")
    again = board(tmp_path / "again", scored("m", 0.5), scored("m", 0.6, date=1_760_000_001.0))
    assert row(compared(again, teacher="m"), "m").retained is not None  # of repeats the newest


def run(*args: object) -> Any:
    app = typer.Typer()
    app.command("leaderboard")(leaderboard)
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "150"})


def test_the_command_writes_shares_everywhere(tmp_path: Path) -> None:
    three(tmp_path / "runs", config=CHOICES)
    elsewhere = save(tmp_path / "elsewhere", scored("org/best", 0.85, config=CHOICES))
    out = {kind: tmp_path / f"a.{kind}" for kind in ("csv", "wide", "html")}
    options = [x for kind, path in out.items() for x in (f"--{kind}", path)]
    result = run(tmp_path / "runs", *options, "--teacher", elsewhere, "--base", "base")
    assert result.exit_code == 0, result.output
    assert "Retained %" in result.stdout and "58.3" in result.stdout
    assert "4 runs, 8 rows\n" in result.stdout
    lines, wide = (
        list(csv.DictReader(io.StringIO(out[kind].read_text(encoding="utf-8"))))
        for kind in ("csv", "wide")
    )
    (line,) = (x for x in lines if x["model"] == "org/student" and x["metric"] == "acc")
    assert line["chance"] == "0.25"
    assert float(line["retained_percent"]) == pytest.approx(100 * 0.35 / 0.6)
    assert float(line["recovered_percent"]) == pytest.approx(100 * 0.1 / 0.35)
    assert float(line["recovered_ci95_low"]) < float(line["recovered_percent"])
    (line,) = (x for x in wide if x["model"] == "org/student")
    assert float(line["quiz (acc) retained %"]) == pytest.approx(100 * 0.35 / 0.6)
    assert float(line["quiz (acc) recovered %"]) == pytest.approx(100 * 0.1 / 0.35)


def test_without_a_teacher_nothing_changes(tmp_path: Path) -> None:
    table = three(tmp_path)
    for write, name in ((write_csv, "a.csv"), (write_wide, "b.csv"), (write_html, "c.html")):
        write(table, tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "retained_percent" not in text and "retained %" not in text
    assert "Retained:" not in text
    result = run(tmp_path, "--base", "org/base")
    assert isinstance(result.exception, HarnessError) and "needs --teacher" in str(result.exception)


def test_the_page_knows_the_shares(tmp_path: Path) -> None:
    write_html(
        compared(three(tmp_path), teacher="org/teacher", base="org/base"), tmp_path / "a.html"
    )
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data = json.loads(found)
    assert data["shares"] == ["retained", "recovered"]
    assert all(len(line) == len(data["rowFields"]) for line in data["rows"])
    assert "share of the gap from org/base to org/teacher" in page


@pytest.mark.browser
def test_the_page_shows_the_shares(tmp_path: Path, browser: Chrome) -> None:
    table = compared(three(tmp_path), teacher="org/teacher", base="org/base")
    write_html(table, tmp_path / "a.html")
    browser.get((tmp_path / "a.html").as_uri())
    assert texts(browser, "#head th")[5:7] == ["Retained", "Recovered"]
    cells = [text.replace("\xa0", " ") for text in texts(browser, "td.share")]
    assert cells[:2] == ["100.0 %", "100.0 %"]
    assert cells[2].startswith("85.7 %") and cells[3].startswith("50.0 %")
    quiet(browser)
