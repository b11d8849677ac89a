"""The end of a study: what is damaged is told with what to do, and the rest is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_studies import planned

from harness.errors import HarnessError
from harness.studies.closing import close
from harness.studies.units import Cell


def finish(cell: Cell, value: float) -> Path:
    """A finished cell of a stock task, as lm-eval leaves it."""
    cell.folder.mkdir(parents=True)
    saved = {
        "results": {cell.task: {"acc,none": value, "acc_stderr,none": 0.1}},
        "configs": {cell.task: {"task": cell.task, "output_type": "multiple_choice"}},
        "n-samples": {cell.task: {"original": 1, "effective": 1}},
        "config": {"model": "hf", "model_args": {"pretrained": cell.run}},
        "date": 1.0,
    }
    file = cell.folder / "results_2026-01-01T00-00-00.0.json"
    file.write_text(json.dumps(saved))
    return file


def test_a_damaged_cell_does_not_keep_the_others_from_being_shown(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    first, second = plan.cells[:2]
    torn = finish(first, 0.1)
    finish(second, 0.2)
    torn.write_text(torn.read_text()[:-9])
    closed = close(plan)
    assert closed is not None and [row.value for row in closed.table.rows] == [0.2]
    (said,) = closed.damaged
    assert said.startswith(f"{first.name}: {torn}")
    assert said.endswith(f"remove {first.folder} and run the study again")
    assert first.name in (plan.study.out / "report.html").read_text()
    torn.unlink()
    assert "no results_*.json in this folder; remove" in close(plan).damaged[0]


def test_samples_that_are_cut_are_damage(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    file = finish(plan.cells[0], 0.1)
    samples = file.with_name(f"samples_{plan.cells[0].task}_2026-01-01T00-00-00.0.jsonl")
    samples.write_text('{"doc_id": 0, "doc": {}, "resps"')
    with pytest.raises(HarnessError, match=r"samples_.*remove .* and run the study again"):
        close(plan)


def test_samples_become_pages_once_and_the_report_leads_there(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    for number, cell in enumerate(plan.cells[:2]):
        file = finish(cell, 0.1 * number)
        row = {"doc_id": 0, "doc": {"q": "a"}, "resps": [["b"]], "filtered_resps": ["b"]}
        row |= {"filter": "none", "metrics": ["acc"], "acc": 1.0, "target": "b", "arguments": {}}
        samples = file.with_name(f"samples_{cell.task}_2026-01-01T00-00-00.0.jsonl")
        samples.write_text(json.dumps(row) + "\n")
    closed = close(plan)
    out = plan.study.out
    assert closed is not None and closed.samples == out / "view" / "index.html"
    report = (out / "report.html").read_text()
    first = str(plan.cells[0].folder)
    (run,) = {one.run_id for one in closed.table.runs if one.file.startswith(first)}
    assert f"view/index.html#task={plan.cells[0].task}\\u0026run={run}" in report
    assert '"view":"view/index.html"' in (out / "leaderboard.html").read_text()
    made = (out / "view").stat().st_ino
    close(plan)
    assert (out / "view").stat().st_ino == made, "nothing has changed"
    finish(plan.cells[2], 0.3)
    close(plan)
    assert (out / "view").stat().st_ino != made
