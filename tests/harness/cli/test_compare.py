"""``harness compare`` as it is typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.cli import main

DATE = "2026-01-02T03-04-05.000000"


def run(folder: Path, name: str, right: list[float], task: str = "quiz") -> Path:
    place = folder / name.replace("/", "_")
    place.mkdir(parents=True)
    results = {
        "results": {task: {"acc,none": sum(right) / len(right), "sample_len": len(right)}},
        "configs": {task: {"metadata": {"version": 1.0}}},
        "higher_is_better": {task: {"acc": True}},
        "n-samples": {task: {"original": len(right), "effective": len(right)}},
        "config": {"model": "hf", "model_args": {"pretrained": name}},
    }
    (place / f"results_{DATE}.json").write_text(json.dumps(results))
    lines = [{"doc_id": n, "doc_hash": str(n), "filter": "none", "acc": one}
             for n, one in enumerate(right)]  # fmt: skip
    samples = place / f"samples_{task}_{DATE}.jsonl"
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["harness", "compare", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "80")
    try:
        return int(main() or 0)
    except SystemExit as end:
        return int(end.code or 0)


def test_a_table_and_a_file(tmp_path, monkeypatch, capsys) -> None:
    a = run(tmp_path, "org/plain", [1.0] * 10 + [0.0] * 30)
    b = run(tmp_path, "org/better", [1.0] * 30 + [0.0] * 10)
    c = run(tmp_path, "org/other", [1.0] * 4, task="puzzle")
    assert call(monkeypatch, a, b, c, "--csv", tmp_path / "out.csv") == 0
    told = capsys.readouterr().out
    assert "Against org/plain, on the same documents" in told and "quiz (acc) ↑" in told
    row = next(line for line in told.splitlines() if "org/better" in line).split()
    assert row[:3] == ["org/better", "0.75", "+0.500"] and row[-3:] == ["<.001", "<.001", "40"]
    assert "not compared: quiz of org/other: the run does not have this task" in told
    assert all(len(line) <= 80 for line in told.splitlines() if not line.startswith("not"))
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [line["difference"] for line in found] == ["0.5", "", ""]
    assert float(found[0]["p"]) == pytest.approx(2 / 2**20)


def test_the_baseline_is_a_path_or_a_name(tmp_path, monkeypatch, capsys) -> None:
    a, b = run(tmp_path, "plain", [0.0] * 9), run(tmp_path, "better", [1.0] * 9)
    for named in (b, "better"):
        assert call(monkeypatch, a, b, "--baseline", named) == 0
        assert "Against better" in capsys.readouterr().out
    assert call(monkeypatch, a, "--baseline", b) == 0
    assert "-1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "one run is nothing to compare"),
        (["a", "a"], "one run is nothing to compare"),
        (["a", "nowhere"], "nowhere: no such file or folder"),
        (["a", "b", "--baseline", "c"], "--baseline c is none of the runs: a, b"),
        (["a", "puzzle"], "nothing could be compared; the reasons are above"),
        (["a", "b", "--csv", "."], "cannot write ."),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, capsys, words, message) -> None:
    run(tmp_path, "a", [0.0] * 5)
    run(tmp_path, "b", [1.0] * 5)
    run(tmp_path, "puzzle", [1.0] * 5, task="puzzle")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *words) == 1
    told = capsys.readouterr().err.strip()
    assert message in told and len(told.splitlines()) == 1
