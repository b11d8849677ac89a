"""How a run of a study is watched: one bar for a person, a line a unit for a log."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from written_studies import STEERING, Instant, planned

from harness import HarnessError
from harness.artefacts.locks import held_since
from harness.cli import study_screen as screen
from harness.studies.running import at_work, run_plan
from harness.studies.units import Outcome


def test_a_log_gets_a_line_a_unit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = planned(tmp_path)
    units = plan.to_do(["plain"])
    with screen.watching(units, time.time()) as watch:
        run_plan(plan, units, Instant(["plain/llm_aggrefact"]), watch=watch)
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "1/2 plain/axbench_steer done in 1.0 s",
        "2/2 plain/llm_aggrefact FAILED in 1.0 s",
    ]
    assert err == ""


def test_a_terminal_gets_one_bar_that_names_what_is_at_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    plan = planned(tmp_path)
    units = plan.to_do()
    began = time.time()
    with screen.watching(units, began) as watch:
        watch(Outcome(units[0].name, None, 1.0))
        units[1].log.parent.mkdir(parents=True)
        units[1].log.write_text("working [bold]")
        watch(Outcome(units[2].name, "out of memory", 1.0))
        time.sleep(1.5)  # it looks twice a second
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{units[2].name} FAILED in 1.0 s" in err
    assert f"2/{len(units)}" in err and units[1].name in err


def test_failures_are_told_with_what_waits_for_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path)
    ended = run_plan(plan, plan.to_do(), Instant(["vectors"]))
    screen.show_failures(plan, ended)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "failed: vectors: out of memory"
    assert lines[1].strip() == str(plan.units[0].log)
    assert lines[2] == "not run: steered-diffmean/axbench_steer: it needs vectors"
    assert len(lines) == 6
    screen.show_status(planned(tmp_path))
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "failed  vectors" and shown[1].strip() == "out of memory"
    assert shown[-1] == "3 done, 4 missing, 1 failed"


def test_commands_say_what_is_judged_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path)
    run_plan(plan, plan.to_do(), Instant())
    other = STEERING.replace("{data: testbed}", "{data: testbed, judge: {model: testbed-judge}}")
    plan = planned(tmp_path, other)
    screen.show_commands(plan, plan.to_do())
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == (
        "steering: 6 cells, 2 artefacts; 5 done, 3 to do (3 by judging saved responses)"
    )
    assert lines[1] == "done    vectors"
    command = lines[lines.index("to do   plain/axbench_steer") + 1]
    assert command.startswith(f"        harness score {tmp_path}/out/cells/plain.axbench_steer-")
    assert command.endswith("--max-unscored 0.5 --with-files --out results")


def test_what_is_at_work_is_told_while_another_process_runs_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path)
    run_plan(plan, plan.to_do(), Instant(["vectors"]))
    assert held_since(plan.study.out) is None
    with at_work(plan.study.out):
        began = held_since(plan.study.out)
        assert began is not None and abs(time.time() - began) < 60
        note = plan.units[0].log.with_suffix(".failed.json")
        os.utime(note, (began - 60, began - 60))  # it failed in an earlier run, and is tried again
        plan.units[0].log.write_text("reading texts")
        screen.show_status(planned(tmp_path), began)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "running vectors"
    assert lines[-1] == "3 done, 4 missing, 0 failed, 1 running"


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = pytest.raises(HarnessError, match=r"^--out .*no folder that can be written to")
    with wrong, at_work(tmp_path / "file" / "x"):
        pass
