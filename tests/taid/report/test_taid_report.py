"""The page of distillations: what is read, what is drawn, what is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from harness_taid.commands import app
from harness_taid.report.page import render
from harness_taid.report.pictures import thinned
from harness_taid.report.reading import read_comparisons, read_students
from typer.testing import CliRunner

from harness.errors import ArtefactError, DataError, HarnessError

ATTACK = "</style><script>x</script><img src=x onerror=x>"


def student(
    folder: Path, objective: str = "taid", seed: int = 1, steps: int = 20, **more: Any
) -> Path:
    folder.mkdir(parents=True)
    recipe = {
        "objective": objective, "settings": {}, "teacher": "org/teacher", "student": "org/small",
        "seed": seed, "rate": 1e-4, "sampler": "off", "compat": "paper",
    } | more  # fmt: skip
    lines = []
    for step in range(1, steps + 1):
        line = {"step": step, "loss": 2.0 / step, "lr": 1e-4, "grad_norm": 1.0, "tokens": 9}
        if objective == "taid":
            floor = 0.4 + 0.6 * step / steps
            line |= {"cross_entropy": 2.0 / step, "kl": 0.1, "t": floor, "t_floor": floor}
            line |= {"momentum": 0.0, "delta": 0.0, "adaptive_won": float(step % 4 == 0)}
        lines.append(line)
        if step % 10 == 0:
            lines.append({"step": step, "dev_loss": 1.5 - step / 100, "dev_kl": 0.3})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    manifest = {
        "recipe": recipe, "steps": steps, "chosen_step": 10, "seconds": 12.0,
        "dev": {"dev_loss": 1.4, "dev_kl": 0.3},
    }  # fmt: skip
    (folder / "distillation.json").write_text(json.dumps(manifest))
    return folder


def result(folder: Path, model: str, value: float, method: str = "", name: str = "a") -> Path:
    metrics = {
        "acceptance,none": value, "acceptance_stderr,none": 0.01,
        "acceptance_ci95,none": [value - 0.02, value + 0.03], "forward_kl,none": 1 - value,
        "forward_kl_stderr,none": 0.01, "tvd,none": 1 - value,
    }  # fmt: skip
    document = {
        "results": {"taid_fidelity": {"alias": "taid_fidelity", **metrics}},
        "configs": {
            "taid_fidelity": {
                "metadata": {
                    "version": 1.0, "headline": "acceptance", "data_source": "testbed",
                    "data_sha256": "ab" * 32, "split": "held out",
                }
            }
        },
        "higher_is_better": {"taid_fidelity": {"acceptance": True, "forward_kl": False}},
        "n-samples": {"taid_fidelity": {"original": 9, "effective": 9}},
        "config": {"model": "hf-distilled", "model_args": {"pretrained": model}, "method": method},
        "date": 1_760_000_000.0,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"results_{name}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def room(tmp_path):
    for name, options in {
        "taid-1": {}, "taid-2": {"seed": 2},
        "fkl": {"objective": "fkl"},
        "flat": {"settings": {"adaptive": False}},
    }.items():  # fmt: skip
        made = student(tmp_path / "students" / name, **options)
        result(tmp_path / "r", str(made), 0.9, method="taid", name=name)
    result(tmp_path / "r", "org/small", 0.7, name="base")
    return tmp_path


def test_students_and_their_labels(room):
    found = read_students([room / "students", room / "students" / "fkl"])
    assert [(one.label, one.seed) for one in found] == [
        ("fkl", "1"), ("taid", "1"), ("taid", "2"), ("taid (adaptive false)", "1"),
    ]  # fmt: skip
    first = found[1]
    assert len(first.steps) == 20 and len(first.validations) == 2
    assert first.parts == ["kl"]  # the cross-entropy is the loss itself
    assert first.share_won == 0.25 and found[0].share_won is None and not found[0].has_t


def test_labels_name_what_else_differs(tmp_path):
    student(tmp_path / "a", "fkl")
    student(tmp_path / "b", "fkl", rate=1e-3, sampler="mixed")
    student(tmp_path / "c", "fkl", rate=1e-3)
    labels = {one.made.folder.name: one.label for one in read_students([tmp_path])}
    assert labels == {"a": "fkl, rate 0.0001", "b": "fkl (sampler mixed)", "c": "fkl, rate 0.001"}


def test_results_stand_under_the_students_labels(room):
    students = read_students([room / "students"])
    first, second = read_comparisons([room / "r"], students)
    assert (first.metric, second.metric) == ("acceptance", "forward_kl")
    found = {(one.label, one.seed): one.row.value for one in first.runs}
    assert found[("small", "")] == 0.7 and found[("taid", "2")] == 0.9
    assert len(first.runs) == 5 and not first.limited


def test_the_page(room):
    students = read_students([room / "students"])
    page = render(students, read_comparisons([room / "r"], students), ATTACK)
    assert "<script" not in page and "<img" not in page and "default-src 'none'" in page
    assert page.count("<svg") == page.count("</svg>") == 6
    for words in (
        "4 students by", "3 methods", "Expected acceptance", "Blue: not distilled",
        "taid (adaptive false)", "taid: 25 %", "held-out", "How far the teacher is reached",
    ):  # fmt: skip
        assert words in page, words
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    alone = render(students[:1], [], "t")
    assert "How far the teacher is reached" not in alone and alone.count("<svg") == 3


def test_long_courses_are_thinned():
    lines = [{"step": k, "loss": float(k)} for k in range(1, 961)]
    steps, values = thinned(lines, "loss")
    assert len(steps) == 240 and values[0] == 2.5
    assert math.fsum(values) / 240 == pytest.approx(480.5)
    assert thinned(lines, "loss", last=True)[1][-1] == 960.0
    assert thinned(lines, "missing") == ([], [])


def run(*args: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, args)])


def test_the_command(room):
    done = run(room / "students", "--results", room / "r", "--out", room / "a" / "r.html")
    assert done.exit_code == 0, done.output
    assert "r.html: 4 students" in done.output
    assert (room / "a" / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_runs_are_linked_to_their_samples(room):
    (room / "view").mkdir()
    given = (room / "students", "--results", room / "r", "--view", room / "view")
    absent = run(*given, "--out", room / "a.html")
    assert "there is no index.html in it" in str(absent.exception)
    assert not (room / "a.html").exists()
    (room / "view" / "index.html").touch()
    assert run(*given, "--out", room / "a.html").exit_code == 0
    page = (room / "a.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="view/index\.html#task=(\w+)&amp;run=(\w+)">([^<]+)<', page)
    assert {task for task, _, _ in linked} == {"taid_fidelity"} and len(linked) > 1


def test_what_cannot_be_drawn_is_one_line(room, tmp_path):
    def refused(kind: type[Exception], words: str, *args: object) -> None:
        done = run(*args, "--out", tmp_path / "x.html")
        assert isinstance(done.exception, kind), done.output
        assert words in str(done.exception)
        assert not (tmp_path / "x.html").exists()

    refused(HarnessError, "no such folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused(HarnessError, "no distillation.json in it or below", tmp_path / "empty")
    no_task = tmp_path / "r2" / "results_1.json"
    no_task.parent.mkdir()
    other = {"results": {"other": {"acc,none": 1.0}}, "config": {"model": "hf"}}
    no_task.write_text(json.dumps(other))
    refused(HarnessError, "no run of taid_fidelity", room / "students", "--results", no_task)
    (room / "students" / "fkl" / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\n{"st')
    refused(DataError, "metrics.jsonl, line 2: not valid JSON", room / "students")
    (room / "students" / "fkl" / "metrics.jsonl").unlink()
    refused(DataError, "metrics.jsonl: no such file", room / "students")
    (room / "students" / "flat" / "distillation.json").write_text("{}")
    refused(ArtefactError, "distillation.json is damaged", room / "students" / "flat")
