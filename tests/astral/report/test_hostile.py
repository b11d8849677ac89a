"""Results, samples and suites from strangers: data of a stated shape, and nobody is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_astral.commands import app
from harness_astral.report.facts import calibrations
from harness_astral.report.reading import read_runs
from harness_astral.report.report import MOST_LEVELS, report_of
from typer.testing import CliRunner

from astral.made_up import inputs, outcome, write_run
from harness.asking.assistant import Assistant
from harness.errors import DataError, JudgeError
from harness.judging.rescore import rescore

GOOD = {"found": 18, "unsafe": 20, "left": 76, "safe": 80, "undecided": 1}
CAME = [outcome(name) for name in ("unsafe", "safe") * 8]


@pytest.mark.parametrize(
    "changed", [{"found": 21}, {"left": 81}, {"unsafe": -1}, {"safe": 10**400}, {"undecided": -1}]
)
def test_a_calibration_that_does_not_add_up(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = write_run(tmp_path, inputs(), CAME, note={"calibration": GOOD | changed})
    with pytest.raises(DataError, match=r"is damaged: its calibration does not add up"):
        calibrations(read_runs([path]))


def test_too_many_levels_for_a_page(tmp_path: Path) -> None:
    suite = [replace(one, category=f"c{n}") for n, one in enumerate(inputs(replicates=60))]
    assert len(suite) > MOST_LEVELS
    path = write_run(tmp_path, suite, [outcome("safe")] * len(suite))
    with pytest.raises(DataError, match=r"480 levels of category, more than the 200"):
        report_of(read_runs([path]))


def test_names_of_models_on_the_terminal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, inputs(), CAME, model=f"org/\x1b]0;{name}\x07")
    against = ["--against", str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["report", str(tmp_path / "a"), *against])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output and "\\x1b]0;a\\x07 against \\x1b]0;b\\x07" in done.output


@pytest.mark.parametrize("oracle", ["/etc/hostname", "own.yaml", "../judge"])
def test_an_oracle_that_is_a_file_is_not_read_for_a_results_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oracle: str
) -> None:
    monkeypatch.setattr(Assistant, "model", lambda self: pytest.fail("somebody is asked"))
    judge = {"model": "testbed-judge", "model_args": {}, "oracle": oracle}
    path = write_run(tmp_path / "run", inputs(), CAME, judge=judge)
    with pytest.raises(
        JudgeError, match=r"oracle=.*, a file, which a results file does not decide"
    ):
        rescore(path, judge="same", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
