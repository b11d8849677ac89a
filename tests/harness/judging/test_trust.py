"""``harness score`` on a stranger's results: nothing in them runs, is sent or written elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faulty_server import running
from judged_tasks import PoliteTask, evaluate, judge_at, write_tasks

from harness.errors import DataError, HarnessError, JudgeError
from harness.judging.rescore import rescore

EVIL = """
task: polite
class: !function evil.Task
custom_dataset: !function evil.rows
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: ""
metadata: {version: 1.0}
"""


def results_of(folder: Path) -> Path:
    (file,) = folder.rglob("results_*.json")
    return file


@pytest.fixture
def sent(tmp_path: Path) -> tuple[Path, Path]:
    """A run's results as they arrive, and a folder of one's own tasks."""
    (tmp_path / "made").mkdir()
    evaluate(tmp_path / "made", {"judge": "none"})
    own = tmp_path / "own"
    own.mkdir()
    return results_of(tmp_path / "made").parent, write_tasks(own)


def changed(folder: Path, **metadata: Any) -> Path:
    (file,) = folder.glob("results_*.json")
    saved = json.loads(file.read_text())
    saved["configs"]["polite"]["metadata"] |= metadata
    file.write_text(json.dumps(saved))
    return file


def test_no_code_beside_the_results_runs(sent: tuple[Path, Path], tmp_path: Path) -> None:
    """A YAML that the results name, with functions of its own, is not looked at."""
    folder, own = sent
    marker = tmp_path / "it-ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (folder / "polite.yaml").write_text(EVIL)
    judge = {"model": "testbed-judge", "prompt_hash": "0"}
    file = changed(folder, config_source=str(folder / "polite.yaml"), judge=judge)
    with pytest.raises(DataError, match="unknown task 'polite': install the plugin that brings"):
        rescore(file, judge="testbed-judge")
    with running() as server:
        rescore(file, judge=json.dumps(judge_at(server.url)), include_path=[own])
    assert not marker.exists()


@pytest.mark.parametrize(
    "extra",
    [
        {"base_url": "…"},
        {"trust_remote_code": True, "pretrained": "stranger/model"},
        {"header": {"X": "1"}},
        {"steer_path": "file.pt"},
    ],
)
def test_no_judge_of_theirs_is_asked(
    sent: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    folder, own = sent
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    with running() as server:
        if "base_url" in extra:
            extra = {"base_url": server.url}
        judge = {"model": "local-chat-completions", "model_args": extra, "prompt_hash": "0"}
        file = changed(folder, judge=judge)
        for told in (None, "same"):
            with pytest.raises(JudgeError) as refused:
                rescore(file, judge=told, include_path=[own])
            words = str(refused.value)
            assert "--judge" in words and "\n" not in words and "sk-planted" not in words
        assert server.total == 0
    assert len(list(folder.glob("results_*.json"))) == 1


def test_their_judge_is_named_and_taken_when_confirmed(sent: tuple[Path, Path]) -> None:
    folder, own = sent
    written = folder / "anywhere.jsonl"
    judge = {"model": "testbed-judge", "store": str(written), "votes": 1, "prompt_hash": "0"}
    file = changed(folder, judge=judge)
    with pytest.raises(JudgeError, match=r"names as its judge testbed-judge \{\}: confirm it with"):
        rescore(file, include_path=[own])
    with pytest.raises(HarnessError):  # it knows the tasks of the testbed alone
        rescore(file, judge="same", include_path=[own])
    assert not written.exists(), "where answers are kept is not theirs to say"


def test_names_and_links_lead_nowhere(sent: tuple[Path, Path], tmp_path: Path) -> None:
    folder, own = sent
    (file,) = folder.glob("results_*.json")
    date = file.stem.rpartition("_")[2]
    secret = tmp_path / "secret"
    secret.write_text("private\n")
    saved = json.loads(file.read_text())
    with running() as server:
        judge = json.dumps(judge_at(server.url))
        saved["configs"]["other"] = {"task": "other", "metadata": {}}
        file.write_text(json.dumps(saved))
        (folder / f"samples_other_{date}.jsonl").symlink_to(secret)
        with pytest.raises(DataError, match="is a link; samples are read from regular files"):
            rescore(file, judge=judge, include_path=[own], out=tmp_path / "out")
        del saved["configs"]["other"]
        saved["configs"]["../../there"] = {"task": "x", "metadata": {}}
        file.write_text(json.dumps(saved))
        with pytest.raises(DataError, match=r"'\.\./\.\./there' is no name of a task"):
            rescore(file, judge=judge, include_path=[own], out=tmp_path / "out")
    assert not list(tmp_path.rglob("*there*"))
    assert not (tmp_path / "out").exists()


def test_files_that_results_name_are_read_where_the_user_says_so(
    sent: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    folder, own = sent
    monkeypatch.setattr(PoliteTask, "file_keys", frozenset({"labels"}))
    file = changed(folder, labels="/etc/shadow")
    for with_files in (False, True):
        out = tmp_path / f"out-{with_files}"
        with running() as server:
            judge = json.dumps(judge_at(server.url))
            rescore(file, judge=judge, include_path=[own], out=out, with_files=with_files)
        saved = json.loads(results_of(out).read_text())
        assert ("labels" in saved["configs"]["polite"]["metadata"]) is with_files
        told = "labels=/etc/shadow is a file that the results name, and is left out"
        assert (told in caplog.text) is not with_files
        caplog.clear()


def test_a_folder_that_is_not_there(sent: tuple[Path, Path]) -> None:
    folder, _ = sent
    with pytest.raises(DataError, match=r"--include-path /no/such: there is no such folder"):
        rescore(folder, judge="hf", include_path=[Path("/no/such")])
