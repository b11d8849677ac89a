"""``harness run`` as a person types it: what it shows, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import cli

pytestmark = pytest.mark.long

TASK = "llm_aggrefact_wice"
STUDY = f"""\
study: small
defaults: {{device: cpu, limit: 40, metadata: {{data: testbed}}}}
runs:
  - {{name: guessing, model: dummy}}
  - {{name: broken, model: dummy, metadata: {{aggrefact_split: none}}}}
tasks: [{TASK}]
"""


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """``harness run`` in this process, in a folder with a study's file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("harness.cli.atexit.register", lambda _: None)
    (tmp_path / "study.yaml").write_text(STUDY)

    def command(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["harness", "run", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Ended(int(end.value.code or 0), *capfd.readouterr())

    return command


def values(folder: Path) -> dict[str, object]:
    """The result values of the one results file somewhere below a folder."""
    (file,) = folder.rglob("results_*.json")
    found: dict[str, object] = json.loads(file.read_text())["results"]
    return found


def test_a_study_is_shown_run_and_goes_on(tmp_path: Path, run: Callable[..., Ended]) -> None:
    out = tmp_path / "studies" / "small"
    shown = run("study.yaml", "--dry-run")
    assert shown.status == 0
    assert shown.out.splitlines()[:2] == [
        "small: 2 cells, 0 artefacts; 0 done, 2 to do",
        f"to do   guessing/{TASK}",
    ]
    assert not (out / "cells").exists()

    ended = run("study.yaml")
    assert ended.status == 1
    assert f"1/2 guessing/{TASK} done in" in ended.out
    assert f"2/2 broken/{TASK} FAILED in" in ended.out
    assert "balanced_accuracy ↑, limited" in ended.out
    assert f"leaderboard.html in {out}\nreport: {out}/report.html\n" in ended.out
    failed, log, error = ended.err.splitlines()
    assert failed.startswith(f"failed: broken/{TASK}: ") and "aggrefact_split" in failed
    assert log.strip().startswith(f"{out}/logs/broken.{TASK}-") and Path(log.strip()).is_file()
    assert error == "error: 1 of 2 failed"
    for name in ("leaderboard.csv", "leaderboard_wide.csv", "leaderboard.html", "report.html"):
        assert (out / name).is_file()

    status = run("study.yaml", "--status").out.splitlines()
    assert status[0] == f"done    guessing/{TASK}"
    assert status[1] == f"failed  broken/{TASK}"
    assert status[2].strip() == failed.partition(f"{TASK}: ")[2]
    assert status[-1] == "1 done, 0 missing, 1 failed"


@pytest.mark.slow
def test_what_failed_is_run_again_and_every_command_gives_the_same_by_hand(
    tmp_path: Path, run: Callable[..., Ended]
) -> None:
    assert run("study.yaml").status == 1
    mended = STUDY.replace("split: none", "split: test") + "compare: {baseline: guessing}\n"
    (tmp_path / "study.yaml").write_text(mended)
    ended = run("study.yaml")
    assert (ended.status, ended.err) == (0, "")
    assert "Against guessing, on the same documents" in ended.out
    compared = (tmp_path / "studies" / "small" / "comparisons.csv").read_text().splitlines()
    assert len(compared) == 2 and f"{TASK},balanced_accuracy" in compared[1]
    assert ended.out.startswith("small: 2 cells, 0 artefacts; 1 done, 1 to do\n1/1 broken")
    assert run("study.yaml", "--status").out.splitlines()[-1] == "2 done, 0 missing, 0 failed"
    lines = run("study.yaml", "--dry-run").out.splitlines()[1:]
    for name, command in zip(lines[::2], lines[1::2], strict=True):
        words = shlex.split(command)
        assert words[:2] == ["lm_eval", "run"]
        empty = tmp_path / "by hand" / name.split()[1].replace("/", ".")
        empty.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", *words], cwd=empty, check=True, capture_output=True)
        (cell,) = (tmp_path / "studies" / "small" / "cells").glob(f"{empty.name}-*")
        assert values(empty) == values(cell)


def test_a_wrong_file_is_one_line(tmp_path: Path, run: Callable[..., Ended]) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + "tsaks: []\n")
    assert run("study.yaml") == Ended(
        1, "", "error: study.yaml:7: no key is called 'tsaks'; did you mean tasks?\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.yaml"], "none.yaml cannot be read: No such file or directory"),
        (["study.yaml", "--executor", "slurm"], "--executor slurm: there are local, ray"),
        (["study.yaml", "--address", "auto"], "give --executor ray too"),
        (["study.yaml", "--only", "gessing"], "did you mean guessing?"),
    ],
)
def test_wrong_words_are_one_line(run: Callable[..., Ended], words: list[str], said: str) -> None:
    ended = run(*words)
    assert ended.status == 1 and said in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


@pytest.mark.slow
def test_sigterm_keeps_what_is_done_and_says_so(tmp_path: Path) -> None:
    study = (
        STUDY.replace("none", "test").replace("limit: 40, ", "").replace("[", "[llm_aggrefact, ")
    )
    (tmp_path / "study.yaml").write_text(study)
    cells = tmp_path / "studies" / "small" / "cells"
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "study.yaml"],
        cwd=tmp_path,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(cells.glob("guessing.*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said == "interrupted; what is done is kept; the same command goes on from there\n"
    assert not list(cells.glob(".*.draft")) and list(cells.glob("guessing.*"))
