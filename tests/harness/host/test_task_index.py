"""lm-eval's index of its own tasks is read once, and again after any change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks._index import TaskIndex

from harness.host import lm_eval_seams as seams
from harness.host.task_index import kept


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task, a group and a tag; the task includes a file without a suffix."""
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path / "its_own"))
    folder = tmp_path / "tasks"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "_base").write_text("output_type: generate_until\ntag: some\n")
    (folder / "deep" / "one.yaml").write_text(
        "task: one\ninclude: _base\ndoc_to_text: !function utils.text\nnum_fewshot: 2\n"
    )
    (folder / "all.yaml").write_text("group: all\ntask:\n  - one\n")
    return folder


def reading(folder: Path, count: list[int]) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        count.append(1)
        return TaskIndex.build([folder])

    return read


def found(folder: Path) -> tuple[dict[str, Any], int]:
    count: list[int] = []
    return kept(folder, reading(folder, count)), len(count)


def place(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "its_own" / "task_index").glob("*.json")
    return file


def test_the_second_time_nothing_is_parsed(tasks: Path) -> None:
    first, parsed = found(tasks)
    assert parsed == 1 and set(first) == {"one", "all", "some"}
    again, parsed = found(tasks)
    assert parsed == 0 and again == first == TaskIndex.build([tasks])
    assert list(again) == list(first)
    assert again["one"].cfg["doc_to_text"] == str(tasks / "deep" / "utils.text")


def test_what_is_changed_in_an_index_is_changed_there_alone(tasks: Path) -> None:
    found(tasks)
    found(tasks)[0]["one"].cfg["num_fewshot"] = 5
    assert found(tasks)[0]["one"].cfg["num_fewshot"] == 2


@pytest.mark.parametrize("name", ["deep/one.yaml", "deep/_base", "all.yaml", "new.yaml", "-"])
def test_any_change_is_seen(tasks: Path, name: str) -> None:
    """Also of a file that is included, of as many bytes, or of one that is gone."""
    found(tasks)
    if name == "-":
        (tasks / "all.yaml").unlink()
    else:
        path = tasks / name
        old = path.read_text() if path.exists() else "task: new\nnum_fewshot: 2\n"
        path.write_text(old.replace("some", "other").replace("2", "3").replace("all", "ALL"))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    again, parsed = found(tasks)
    assert parsed == 1 and again == TaskIndex.build([tasks])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 1}', "cut", "kind"])
def test_a_damaged_file_is_made_anew(tasks: Path, tmp_path: Path, damage: str) -> None:
    expected, _ = found(tasks)
    text = place(tmp_path).read_text()
    changed = {"cut": text[: len(text) // 2], "kind": text.replace('"GROUP"', '"CIRCLE"')}
    place(tmp_path).write_text(changed.get(damage, damage))
    assert found(tasks) == (expected, 1)
    assert found(tasks) == (expected, 0)


def test_what_json_would_change_is_not_kept(tasks: Path, tmp_path: Path) -> None:
    """A date, and a key that is a number."""
    (tasks / "dated.yaml").write_text("task: dated\nmetadata:\n  version: 2024-01-01\n")
    assert [found(tasks)[1] for _ in range(2)] == [1, 1]
    (tasks / "dated.yaml").write_text("task: dated\nmetadata:\n  1: one\n")
    assert [found(tasks)[1] for _ in range(2)] == [1, 1]
    assert not list((tmp_path / "its_own").rglob("*.json"))


def test_a_cache_that_cannot_be_written_stops_nobody(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path / "full"))
    assert found(tasks) == (TaskIndex.build([tasks]), 1)


@pytest.mark.long
def test_lm_evals_own_are_those_that_it_reads_itself() -> None:
    """All 14 000 of them, by way of the cache of this run."""
    from lm_eval.tasks import TaskManager

    folder = seams.own_folder() / "tasks"
    shared = TaskManager()._index
    stored = json.loads(
        next(Path(os.environ["PAPERHARNESS_CACHE"], "task_index").glob("*.json")).read_bytes()
    )
    assert len(stored["entries"]) > 10_000
    own = {name: shared[name] for name, *_ in stored["entries"]}
    assert own == _stock(folder)


def _stock(folder: Path) -> dict[str, Any]:
    """As lm-eval has it without the plugins."""
    stock = TaskIndex.build
    while hasattr(stock, "__wrapped__"):
        stock = stock.__wrapped__
    index: dict[str, Any] = stock([folder])
    return index
