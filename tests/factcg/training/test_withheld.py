"""The authors' released files: JSON lines named .json, and rows whose documents are withheld."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.commands import app
from harness_factcg.training import rows as training_data
from harness_factcg.training.rows import Source
from typer.testing import CliRunner

from factcg.made_up import CITIES, NAMES
from harness.errors import DataError

SHAPE = ("--model", "scratch:3x32", "--device", "cpu", "--max-length", "128", "--batch-size", "8")


def row(doc: str, claim: str, label: int) -> dict[str, Any]:
    return {"task": "bin", "text_a": doc, "text_b": [claim], "text_c": [], "orig_label": label}


def released(folder: Path, withheld: int) -> Path:
    """Forty rows with their documents, and so many without between them, as JSON lines in .json."""
    rows = []
    for k in range(20):
        name, city, other = NAMES[k % 6], CITIES[k % 5], CITIES[(k + 2) % 6]
        claim = f"{name} lives in {city}, number {k}."
        rows.append(row(f"{name} lives in {city}. House {k}.", claim, 1))
        rows.append(row(f"{name} lives in {other}. House {k}.", claim, 0))
    rows[3:3] = [row("", f"Claim {k}.", 1) for k in range(withheld)]
    path = folder / "stage1.json"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def test_the_rows_and_what_is_left_out(tmp_path: Path) -> None:
    path = released(tmp_path, 7)
    source = Source.of(path, skip_withheld=True)
    found = training_data.read([source])
    assert (len(found), source.withheld) == (40, 7)
    assert found[2]["pair_id"] == found[3]["pair_id"] != found[4]["pair_id"]
    assert source.as_dict()["withheld"] == 7 and "withheld" not in Source.of(path).as_dict()


def test_the_refusal_names_the_option(tmp_path: Path) -> None:
    path = released(tmp_path, 1200)
    with pytest.raises(DataError) as told:
        training_data.read([Source.of(path)])
    assert str(told.value) == (
        f"{path}: the documents of 1,200 of its 1,240 rows are withheld (text_a is empty): fill "
        "them in, or give --skip-withheld to train on the other 40"
    )
    path.write_text(json.dumps([row("", "Claim.", 1)]))
    with pytest.raises(DataError, match=r"1 of its 1 rows are withheld .*: fill them in$"):
        training_data.read([Source.of(path, skip_withheld=True)])


def test_a_broken_row_is_still_named_by_its_number(tmp_path: Path) -> None:
    path = released(tmp_path, 5)
    with path.open("a") as file:
        file.write(json.dumps(row(" ", "Claim.", 1)) + "\n")
    with pytest.raises(DataError, match=r"stage1\.json, row 46: text_a is empty or no text"):
        training_data.read([Source.of(path, skip_withheld=True)])


def test_the_command(tmp_path: Path) -> None:
    path = released(tmp_path, 7)
    command = ["train", "--stage1", str(path), "--out", str(tmp_path / "out"), *SHAPE]
    command += ["--dev-share", "0.2", "--evaluations", "1"]
    stopped = CliRunner().invoke(app, command)
    assert isinstance(stopped.exception, DataError) and "--skip-withheld" in str(stopped.exception)
    assert not (tmp_path / "out").exists()
    for state in ("written", "already there"):
        done = CliRunner().invoke(app, [*command, "--skip-withheld"])
        assert done.exit_code == 0, done.output
        assert f"({state}): stage1: 32 rows" in done.output
        assert "left out: 7 rows whose documents are withheld" in done.output
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["recipe"]["data"]["stage1"][0]["withheld"] == 7


def test_what_is_left_may_have_one_label(tmp_path: Path) -> None:
    """As in the released MuSiQue file, whose supported claims are all withheld."""
    path = tmp_path / "musique.json"
    rows = [row("", "Claim.", 1), *(row(f"Text {k}.", "Claim.", 0) for k in range(3))]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    command = ["train", "--stage1", str(path), "--out", str(tmp_path / "out"), *SHAPE]
    stopped = CliRunner().invoke(app, [*command, "--skip-withheld"])
    assert str(stopped.exception) == (
        "the training files, once the rows whose documents are withheld are left out: all 3 rows "
        "have the label 0; both supported (1) and unsupported (0) claims are needed"
    )


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_pairs_of_ones_own_are_known_in_any_file(tmp_path: Path, suffix: str) -> None:
    """A table with pair_id, be it named .json: rows of a pair stay together."""
    path = tmp_path / f"own.{suffix}"
    rows = [{"doc": d, "claim": "C.", "label": k, "pair_id": 7} for k, d in enumerate("AB")]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert [one["pair_id"] for one in training_data.read([Source.of(path)])] == ["0:7", "0:7"]


def test_an_odd_data_set_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({"doc": "D.", "claim": "C.", "label": 1, "dataset": ["Wice"]}))
    assert len(training_data.read([Source.of(path)])) == 1
