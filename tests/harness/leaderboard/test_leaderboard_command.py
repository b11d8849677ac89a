from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer
from leaderboard_samples import document, save, task
from typer.testing import CliRunner

from harness.cli.leaderboard import leaderboard
from harness.errors import HarnessError
from harness.leaderboard import read_results
from harness.leaderboard.tables import standings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*args: object) -> Result:
    app = typer.Typer()
    app.command("leaderboard")(leaderboard)
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120"})


def test_real_files_to_all_three_outputs(real_results: Path, tmp_path: Path) -> None:
    out = {kind: tmp_path / f"a.{kind}" for kind in ("csv", "wide", "html")}
    result = run(real_results, *(x for kind, path in out.items() for x in (f"--{kind}", path)))
    assert result.exit_code == 0, result.output
    assert "tiny_letters (acc_norm) ↑" in result.stdout
    assert "2 runs, 6 rows" in result.stdout
    for path in out.values():
        assert f"wrote {path}" in result.stdout.replace("\n", "") or path.exists()
        assert path.stat().st_size > 0


def test_what_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option in ("--csv", "--wide", "--html"):
        result = run(tmp_path / "nothing", option, tmp_path / "file" / "x")
        assert isinstance(result.exception, HarnessError)
        assert str(result.exception).startswith(f"{option} {tmp_path}/file/x: ")
        assert "no folder that can be written to" in str(result.exception)


def test_only_the_summary(many: Path) -> None:
    result = run(many)
    assert result.exit_code == 0 and "wrote" not in result.stdout
    assert "62 runs" in result.stdout
    assert result.stdout.index("org/model-54") < result.stdout.index("org/model-53")


def test_skipped_files_are_one_line_each_on_stderr(tmp_path: Path) -> None:
    path = save(tmp_path, document({"t": task({"acc,none": 0.5})}))
    (tmp_path / "results_bad\x1b[31m.json").write_text("{", encoding="utf-8")
    result = run(tmp_path, path)
    assert result.exit_code == 0
    assert "1 run, 1 row, 1 duplicate left out, 1 file skipped" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("skipped ") and "truncated or not JSON" in line and "\x1b" not in line


def test_a_terminal_is_not_obeyed(tmp_path: Path) -> None:
    content = document({"t": task({"acc,none": 0.5})}, model_args={"pretrained": "[red]a\x1b[31mb"})
    result = run(save(tmp_path, content))
    assert "[red]a\\x1b[31mb" in result.stdout and "\x1b" not in result.stdout


def test_strict_fails_and_writes_nothing_where_a_file_is_skipped(tmp_path: Path) -> None:
    save(tmp_path / "runs", document({"t": task({"acc,none": 0.5})}))
    assert run(tmp_path / "runs", "--strict").exit_code == 0
    (tmp_path / "runs" / "results_torn.json").write_text('{"results": {', encoding="utf-8")
    (tmp_path / "runs" / "config.json").write_text("{}", encoding="utf-8")
    out = tmp_path / "a.csv"
    lax = run(tmp_path / "runs", "--csv", out)
    assert lax.exit_code == 0 and out.exists()
    last = "1 run, 1 row, 1 file skipped, 1 other JSON file without results"
    assert lax.stdout.splitlines()[-1] == last
    out.unlink()
    strict = run(tmp_path / "runs", "--strict", "--csv", out)
    assert strict.exit_code == 1 and isinstance(strict.exception, HarnessError)
    said = str(strict.exception)
    assert (
        said.startswith("--strict: 1 skipped, the first is ") and "results_torn.json (trunc" in said
    )
    assert not out.exists()


def test_a_predicted_run_is_told_and_has_no_rank(tmp_path: Path) -> None:
    """lm-eval's placeholder is 999, and it says that more is better."""
    part = task({"bypass,none": 999, "bypass_stderr,none": "N/A"})
    for name in "ab":
        save(tmp_path, document({"t": part}, model_args={"pretrained": name}), name)
    choices = task({}, metric_list=[{"metric": "bypass"}])
    save(tmp_path, document({"choices": choices}, model_args={"pretrained": "c"}), "c")
    table = read_results([tmp_path])
    assert {(row.task.task, row.value, row.predicted) for row in table.rows} == {
        ("t", None, True),
        ("choices", None, True),
    }
    assert all(one.rank is None for ranked in standings(table.rows).values() for one in ranked)
    shown = run(tmp_path).stdout
    assert "999" not in shown and "↑" not in shown and shown.count("predicted only") == 4
    assert shown.splitlines()[-1] == "3 runs, 3 rows, 3 runs predicted only"


def test_where_there_is_no_interval_there_is_a_dash(tmp_path: Path) -> None:
    metrics = {"auroc,none": 0.75, "auroc_stderr,none": 0.1, "auroc_ci95,none": None}
    save(tmp_path, document({"t": task(metrics)}))
    (line,) = (line for line in run(tmp_path).stdout.splitlines() if "org/model" in line)
    assert line.split()[-3:] == ["0.75", "–", "100"]


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_nothing_to_read_is_an_error(tmp_path: Path, name: str) -> None:
    result = run(tmp_path / name, "--csv", tmp_path / "a.csv")
    assert result.exit_code == 1 and isinstance(result.exception, HarnessError)
    assert not (tmp_path / "a.csv").exists()


def test_outputs_need_different_names(many: Path, tmp_path: Path) -> None:
    result = run(many, "--csv", tmp_path / "a", "--wide", tmp_path / "a")
    assert isinstance(result.exception, HarnessError)
