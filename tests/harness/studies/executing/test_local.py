"""Units in processes of this machine: each ends, is told of, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_study import Study, left_over, values

from harness.errors import HarnessError
from harness.studies.executing import LocalExecutor
from harness.studies.units import Outcome

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _task_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers find what this task's YAML names."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def ended(study: Study) -> dict[str, Outcome]:
    """A study in which much goes wrong."""
    units = [
        study.cell("after", "fails"),
        study.cell("first", "words"),
        study.cell("fails", act="fail"),
        study.cell("dies", act="SIGKILL"),
        study.cell("last"),
        study.artefact("words"),
    ]
    for stale in ("first", "forgotten"):
        (study.folder / "cells" / f".{stale}.draft").mkdir(parents=True)
        (study.folder / "cells" / f".{stale}.draft" / "half").touch()
    (study.folder / "cells" / ".forgotten.unit.lock").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
        return {one.unit: one for one in LocalExecutor().run(units, keep_going=True)}


def test_a_unit_comes_after_what_it_needs_and_not_at_all_after_its_failure(ended):
    assert list(ended) == ["words", "first", "fails", "dies", "last"]
    assert [name for name, one in ended.items() if one.error is None] == ["words", "first", "last"]


def test_a_failed_command_is_told_with_its_last_line(ended, study):
    assert ended["fails"].error == "ValueError: no rows\\x1b[2J today"
    assert "Traceback" in (study.folder / "logs" / "fails.log").read_text()


def test_a_death_fails_its_own_unit_and_tells_the_signal(ended):
    assert "its process was killed by SIGKILL" in ended["dies"].error


def test_a_cell_is_a_folder_with_its_configuration_results_and_samples(ended, study):
    folder = study.folder / "cells" / "first"
    names = sorted(path.name.partition("_")[0] for path in folder.iterdir())
    assert names == ["config.yaml", "results", "samples"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"] == "dummy"
    assert values(folder)[0]["obedient"]["exact_match,none"] == 1.0
    assert ended["first"].seconds > 0


def test_nothing_is_left_of_what_was_killed_now_or_before(ended, study):
    assert sorted(path.name for path in (study.folder / "cells").iterdir()) == ["first", "last"]
    assert left_over(study.folder) == []


def test_all_that_a_command_prints_is_in_its_log(ended, study, capfd):
    assert "|obedient|" in (study.folder / "logs" / "last.log").read_text()
    assert "shards of concepts" not in capfd.readouterr().out


def test_what_is_done_is_not_done_again(ended, study):
    before = (study.folder / "artefacts" / "words").stat().st_mtime_ns
    (outcome,) = LocalExecutor().run([study.artefact("words")], keep_going=True)
    assert (outcome.error, outcome.seconds) == (None, 0.0)
    assert (study.folder / "artefacts" / "words").stat().st_mtime_ns == before


def test_without_keep_going_nothing_is_begun_after_a_failure(tmp_path):
    study = Study(tmp_path / "study")
    units = [study.artefact("bad", methods="moon"), study.artefact("words")]
    (outcome,) = LocalExecutor().run(units, keep_going=False)
    assert outcome.unit == "bad" and "moon" in outcome.error
    assert not (study.folder / "artefacts" / "words").exists()


def test_an_end_from_without_takes_back_what_was_begun(tmp_path):
    study = Study(tmp_path / "study")
    begun = tmp_path / "begun"
    sleeper = study.cell("sleeper", act="sleep", begun=str(begun))
    running = LocalExecutor(processes=2).run([study.artefact("words"), sleeper], keep_going=True)
    assert next(running).unit == "words"
    _until(begun.exists)
    assert (study.folder / "cells" / ".sleeper.draft").is_dir()
    running.close()
    assert left_over(study.folder) == []
    assert not sleeper.done
    assert sleeper.log.read_text().splitlines()[-1].startswith("interrupted")


def test_a_worker_ends_when_its_parent_is_killed_and_the_next_run_goes_on(tmp_path):
    study = Study(tmp_path / "study")
    begun = tmp_path / "begun"
    sleeper = study.cell("sleeper", act="sleep", begun=str(begun))
    parent = os.fork()
    if parent == 0:
        list(LocalExecutor().run([sleeper], keep_going=True))
        os._exit(0)
    _until(begun.exists)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    awake = study.cell("sleeper")
    (outcome,) = LocalExecutor().run([awake], keep_going=True)
    assert outcome.error is None and outcome.seconds > 0
    assert left_over(study.folder) == []


def test_two_units_of_one_name_or_no_process_are_refused(tmp_path):
    study = Study(tmp_path / "study")
    with pytest.raises(HarnessError, match="two units of the study have the name words"):
        list(LocalExecutor().run([study.artefact("words")] * 2, keep_going=True))
    with pytest.raises(HarnessError, match="--processes 0: at least 1 is needed"):
        LocalExecutor(processes=0)


def _until(there: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
