"""Folders of exported results: what is in them, that they appear whole, what is said."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import exported_runs as runs
import pytest

import harness.cli
from harness.errors import DataError, HarnessError
from harness.export.folder import write_folder


def cells(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


# -- tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("tables")
    write_folder([runs.save(room / "run")], "csv", room / "out")
    return room / "out"


def test_scores_are_the_leaderboards(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.leaderboard import read_results, write_csv, write_wide

    table = read_results([tables.parent / "run"])
    write_csv(table, tables.parent / "long.csv")
    write_wide(table, tables.parent / "wide.csv")
    assert (tables / "scores.csv").read_text() == (tables.parent / "long.csv").read_text()
    assert (tables / "leaderboard.csv").read_text() == (tables.parent / "wide.csv").read_text()


def test_a_line_a_document_and_filter(tables: Path) -> None:
    found = {(one["task"], one["document"], one["filter"]): one for one in
             cells(tables / "samples.csv")}  # fmt: skip
    assert len(found) == 8
    even = found["even", "0", "none"]
    assert (even["output"], even["target"], even["correct"]) == (" Yes", " Yes", "true")
    assert json.loads(even["choices"]) == [" No", " Yes"]
    assert found["concepts", "1", "none"]["output"] == "'=HYPERLINK(1)"
    assert json.loads(found["concepts", "0", "none"]["trace"])["factor"] == 0.5
    assert found["sums", "1", "strict"]["scored"] == "[invalid]"


def test_a_line_a_value(tables: Path) -> None:
    found = {(one["task"], one["document"], one["filter"], one["metric"], one["name"]): one["value"]
             for one in cells(tables / "values.csv")}  # fmt: skip
    assert found["even", "0", "none", "acc", ""] == "1.0"
    assert found["concepts", "0", "none", "score", "concept"] == "2.0"
    assert found["concepts", "1", "none", "score", "concept"] == ""
    assert found["concepts", "0", "none", "", "rating:concept"] == "2.0"
    assert found["sums", "0", "flexible", "exact_match", ""] == "1.0"
    assert len(found) == 2 + 2 * 3 + 4


def test_every_column_has_a_meaning(tables: Path) -> None:
    told = cells(tables / "columns.csv")
    for name in ("samples.csv", "values.csv"):
        header = (tables / name).read_text().partition("\n")[0].split(",")
        assert header == [one["column"] for one in told if one["file"] == name]
    assert {one["file"] for one in told} == {
        path.name for path in tables.iterdir() if path.name != "columns.csv"
    }
    assert all(one["meaning"] for one in told)


# -- every_eval_ever


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("records")
    write_folder([runs.save(room / "run")], "eee", room / "out")
    return room / "out"


def record(folder: Path, task: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    (file,) = (folder / "data" / task).rglob("*.json")
    whole = json.loads(file.read_text())
    lines = (folder / whole["detailed_evaluation_results"]["file_path"]).read_text().splitlines()
    return whole, [json.loads(line) for line in lines]


def test_a_record_lies_where_its_model_is_looked_for(records: Path) -> None:
    for file in records.rglob("*.json*"):
        place = file.relative_to(records).as_posix()
        uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
        assert re.fullmatch(rf"data/\w+/org/model/{uuid4}(\.json|_samples\.jsonl)", place)


def test_a_record_and_its_documents_name_each_other(records: Path) -> None:
    for task in runs.TASKS:
        whole, lines = record(records, task)
        details = whole["detailed_evaluation_results"]
        assert details["total_rows"] == len(lines)
        held = (records / details["file_path"]).read_bytes()
        assert details["checksum"] == hashlib.sha256(held).hexdigest()
        known = {one["evaluation_result_id"] for one in whole["evaluation_results"]}
        for line in lines:
            assert line["evaluation_id"] == whole["evaluation_id"]
            assert line["model_id"] == whole["model_info"]["id"]
            assert line.get("evaluation_result_id") in {None, *known}


def test_a_metric_with_its_uncertainty_and_range(records: Path) -> None:
    (result,) = record(records, "even")[0]["evaluation_results"]
    assert result["source_data"]["hf_repo"] == "owner/even"
    config = result["metric_config"]
    assert (config["metric_id"], config["min_score"], config["max_score"]) == ("accuracy", 0.0, 1.0)
    assert result["score_details"]["score"] == 0.5
    uncertainty = result["score_details"]["uncertainty"]
    assert uncertainty["standard_error"] == {"value": 0.25}
    assert uncertainty["confidence_interval"]["confidence_level"] == 0.95


def test_a_metric_whose_range_is_unknown_claims_none(records: Path) -> None:
    score, _ = record(records, "concepts")[0]["evaluation_results"]
    assert "score_type" not in score["metric_config"]
    assert score["metric_config"]["additional_details"]["bounds_status"] == "unknown"


def test_a_document_by_its_number_or_its_ratings(records: Path) -> None:
    even = [one["evaluation"] for one in record(records, "even")[1]]
    assert even == [{"score": 1.0, "is_correct": True}, {"score": 0.0, "is_correct": False}]
    (rated,) = record(records, "concepts")[1]  # the other has no rating
    assert rated["evaluation"]["score"] == 2.0
    assert rated["evaluation_name"] == "concepts/concept"
    assert "evaluation_result_id" not in rated
    assert "not defined" in rated["metadata"]["is_correct"]
    by_filter = [one["evaluation_result_id"] for one in record(records, "sums")[1]]
    assert sorted(by_filter) == ["exact_match,flexible"] * 2 + ["exact_match,strict"] * 2


def test_the_method_is_told_with_the_model(records: Path) -> None:
    model = record(records, "even")[0]["model_info"]
    assert (model["id"], model["name"]) == ("org/model", "org/model + diffmean")
    assert model["additional_details"]["method"] == "diffmean"


def test_the_same_results_give_the_same_records(records: Path, tmp_path: Path) -> None:
    write_folder([records.parent / "run"], "eee", tmp_path / "again")
    first, second = (
        {path.relative_to(room): path.read_bytes() for path in room.rglob("*") if path.is_file()}
        for room in (records, tmp_path / "again")
    )
    assert first == second


def test_a_model_in_a_folder_has_a_place(tmp_path: Path) -> None:
    run = runs.save(tmp_path / "run", model="/models/my model:v1", names=("even",))
    write_folder([run], "eee", tmp_path / "out")
    (file,) = (tmp_path / "out").rglob("*.json")
    assert file.parent.relative_to(tmp_path / "out").as_posix() == "data/even/local/my model_v1"


# -- folders


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    run = runs.save(tmp_path / "run")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(HarnessError, match="out exists already; choose another or remove it"):
        write_folder([run], "csv", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("form", ["csv", "eee"])
def test_damaged_samples_leave_no_folder(form: str, tmp_path: Path) -> None:
    run = runs.save(tmp_path / "run")
    runs.write_lines(run, "sums", runs.filtered()[:3])
    with pytest.raises(DataError, match="cut or damaged"):
        write_folder([run], form, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_was_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.save(tmp_path / "a", metadata={"sensitive": True}, names=("even",))
    runs.save(tmp_path / "b", samples=False, names=("sums",), method="")
    (tmp_path / "results_broken.json").write_text("{")
    out = tmp_path / "out"
    line = ["harness", "export", str(tmp_path), "--to", "csv", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as end:
        harness.cli.main()
    assert not end.value.code
    shown = capsys.readouterr()
    assert f"wrote {out}: 3 scores, 2 samples" in shown.out
    assert "1 task of 2 without samples: lm_eval saves them with --log_samples" in shown.out
    assert "texts of even are not shown; --show-text writes them" in shown.out
    assert "1 file skipped" in shown.out
    assert "skipped" in shown.err
    assert "Is 0 even?" not in (out / "samples.csv").read_text()
