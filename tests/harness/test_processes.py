"""Every long command under real signals, and two of a kind at once."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from faulty_server import running
from forking import Forking, Started
from long_commands import content, make_inputs, words, write_inputs
from once import own_cache

pytestmark = pytest.mark.long

FOLDERS = (
    *("axbench train", "axbench generate", "factcg train", "factcg generate", "astral generate"),
    *("taid distill", "taid capture", "specdecode bench"),
)
KEEPING = {"axbench train": "parts", "factcg train": "training", "taid distill": "distilling"}
DRAFTS = {
    "axbench train": ".out.parts-*/00000.diffmean.safetensors",
    "factcg train": ".out.training-*/*/checkpoint-*/trainer_state.json",
    "taid distill": ".out.distilling-*/checkpoints/step-*",
    "taid capture": ".out.capturing-*/shard-00000.safetensors",
}


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    forking = Forking(tmp_path_factory.mktemp("output"))
    yield forking
    forking.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, forking: Forking) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    make_inputs(folder, forking, "concepts", "dictionary")
    return folder


@pytest.fixture
def start(forking: Forking, inputs: Path, tmp_path: Path):
    def start(name: str, *more: str) -> Started:
        cache = str(own_cache(tmp_path / "cache"))
        return forking.start(*words(name, inputs), *more, cwd=tmp_path, PAPERHARNESS_CACHE=cache)

    return start


def left(folder: Path) -> list[str]:
    """What lies beside the output."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def ours(run: Started) -> list[str]:
    """The lines of stderr that the commands' edge prints."""
    assert "Traceback" not in run.errors, run.errors
    lines = [line.rpartition("\r")[2] for line in run.errors.splitlines()]
    return [line for line in lines if line.startswith(("error: ", "interrupted"))]


def begun(run: Started, name: str, folder: Path) -> bool:
    """Whether a command is at work: something of it is kept, or it says what it does."""
    return bool(list(folder.glob(DRAFTS[name])) if name in DRAFTS else run.errors)


@pytest.mark.parametrize("name", FOLDERS)
def test_of_two_at_once_one_makes_the_folder(name, start, tmp_path):
    runs = [start(name), start(name)]
    statuses = [run.wait() for run in runs]
    assert sorted(statuses) in ([0, 0], [0, 1]), [run.errors for run in runs]
    for run, status in zip(runs, statuses, strict=True):
        told = ours(run)
        assert len(told) == status
        if status:
            assert re.search(r"works on \S*out; wait for it|has just written \S*out;", told[0])
    assert left(tmp_path) == []
    made = content(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    again = start(name)
    assert again.wait() == 0, again.errors
    assert content(tmp_path / "out") == made


@pytest.mark.parametrize("name", FOLDERS)
def test_sigterm_ends_in_one_line_and_the_next_run_ends_well(name, start, tmp_path):
    for _ in range(3):
        run = start(name)
        run.until(partial(begun, run, name, tmp_path))
        run.send(signal.SIGTERM)
        if run.wait() != 0:
            break
        shutil.rmtree(tmp_path / "out")  # it was done before the signal came, on a busy machine
    assert run.wait() == 143, run.errors
    assert len(ours(run)) == 1, run.errors
    (told,) = ours(run)
    kept = [path for path in tmp_path.rglob(".out.*/**/*") if path.is_file()]
    nothing = "nothing is kept" in told or "no answer is kept" in told or "no checkpoint" in told
    assert nothing == (not kept or name == "specdecode bench"), told
    assert not list(tmp_path.rglob("*.lock")) and not list(tmp_path.rglob("*.draft"))
    again = start(name)
    assert again.wait() == 0, again.errors
    assert left(tmp_path) == []


def test_ctrl_c_ends_alike(start, tmp_path):
    run = start("axbench train")
    run.until(lambda: "shards of concepts" in run.errors)
    run.send(signal.SIGINT)
    assert run.wait() == 130
    assert ours(run) == ["interrupted; no method was finished, and nothing is kept"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", KEEPING)
def test_work_that_a_kill_left_beside_the_result_is_removed(name, start, tmp_path):
    run = start(name)
    run.until(lambda: list(tmp_path.glob(DRAFTS[name])))
    run.send(signal.SIGKILL)
    run.wait()
    (work,) = tmp_path.glob(f".out.{KEEPING[name]}-*")
    shutil.copytree(work, tmp_path / "copy")
    again = start(name)
    assert again.wait() == 0, again.errors
    (tmp_path / "copy").rename(work)
    again = start(name)
    assert again.wait() == 0 and "already there" in again.output
    assert left(tmp_path) == []


def test_a_capture_killed_before_its_last_step_is_finished(start, tmp_path):
    run = start("taid capture")
    run.until(lambda: list(tmp_path.glob(DRAFTS["taid capture"])))
    run.send(signal.SIGKILL)
    run.wait()
    (work,) = tmp_path.glob(".out.capturing-*")
    assert start("taid capture").wait() == 0
    made = content(tmp_path / "out")
    (tmp_path / "out").rename(work)
    (work / ".capture.json.draft").write_text("half")
    again = start("taid capture")
    assert again.wait() == 0 and "written" in again.output, again.errors
    assert content(tmp_path / "out") == made and left(tmp_path) == []


@pytest.mark.parametrize("name", FOLDERS)
def test_what_cannot_be_written_is_told_before_the_work(name, start, tmp_path):
    (tmp_path / "file").touch()
    run = start(name, "--out", "file/out")
    assert run.wait() == 1
    (told,) = ours(run)
    assert "file/out: " in told and "file is no folder that can be written to" in told
    assert "%|" not in run.errors, "the work had begun"


def test_a_judged_run_saves_its_responses_at_sigterm(start, inputs):
    with running(delay=30) as server:
        judge = {"model": "local-chat-completions", "model_args": {"model": "m"}}
        judge["model_args"] |= {"base_url": server.url, "num_concurrent": 2}
        run = start(
            "lm_eval", "--metadata", json.dumps({"judge": judge, "data": str(inputs / "concepts")})
        )
        run.until(lambda: server.requests)
        run.send(signal.SIGTERM)
        assert run.wait() == 143, run.errors
    (told,) = ours(run)
    assert told.startswith("interrupted; The responses are saved: `harness score ")
    saved = Path(told.partition("harness score ")[2].partition("`")[0])
    assert len(json.loads(saved.read_text())["results"]) == 1
    (samples,) = saved.parent.glob("samples_*.jsonl")
    assert len(samples.read_text().splitlines()) == 3
