"""The append-only store: nothing finished is lost, nothing half-written is read."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.artefacts.cache import cache_folder
from harness.artefacts.locks import shared_file
from harness.asking.store import Store, key_of
from harness.errors import ArtefactError

pytestmark = pytest.mark.long


def test_what_is_put_is_there_now_and_later(tmp_path):
    path = tmp_path / "deep" / "store.jsonl"
    store = Store(path)
    assert not path.parent.exists(), "nothing is made before something is put"
    store.put("a", {"x": (1, 2)})
    store.put("b", None)
    for seen in (store, Store(path)):
        assert dict(seen) == {"a": {"x": [1, 2]}, "b": None}


def test_the_first_value_of_a_key_stays(tmp_path):
    path = tmp_path / "store.jsonl"
    one, two = Store(path), Store(path)
    one.put("a", 1)
    two.put("a", 2)
    one.put("a", 3)
    assert one["a"] == two["a"] == Store(path)["a"] == 1
    assert len(path.read_text().splitlines()) == 1


@given(st.integers(min_value=0, max_value=200))
def test_a_line_cut_anywhere_is_dropped_and_overwritten(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "store.jsonl"
    store = Store(path)
    store.put("first", "kept")
    whole = path.stat().st_size
    store.put("second", "猫" * 40)
    path.write_bytes(path.read_bytes()[: whole + cut])
    left = dict(Store(path))
    assert left["first"] == "kept"
    reopened = Store(path)
    reopened.put("third", 3)
    assert dict(Store(path)) == left | {"third": 3}


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "store.jsonl"
    path.write_text('{"key": "a", "value": 1}\n{"key": "b", "val\n{"key": "c", "value": 3}\n')
    with pytest.raises(ArtefactError, match=r"store\.jsonl, line 2 is damaged"):
        Store(path)


def test_a_store_deleted_meanwhile_is_begun_anew(tmp_path):
    path = tmp_path / "store.jsonl"
    store = Store(path)
    store.put("a", 1)
    path.unlink()
    store.put("b", 2)
    assert dict(Store(path)) == {"b": 2}


def _put_many(path: Path, owner: int) -> None:
    store = Store(path)
    for number in range(100):
        store.put(f"shared {number}", owner)
        store.put(f"{owner}/{number}", "x" * 2000)


def test_several_processes_share_a_file(tmp_path):
    path = tmp_path / "store.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put_many, args=(path, owner)) for owner in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 400


@given(st.text(), st.text())
def test_keys_follow_content(one, two):
    assert (key_of(text=one) == key_of(text=two)) == (one == two)
    assert key_of(a=one, b=two) == key_of(b=two, a=one)


@given(st.text())
@example("half a pair: \ud83d")
def test_any_text_survives(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "store.jsonl"
    Store(path).put(key_of(text=text), text)
    assert Store(path)[key_of(text=text)] == text


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("PAPERHARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "paperharness"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/paperharness").expanduser()


def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8 no line break in here")
    with pytest.raises(ArtefactError, match="another kind of file"):
        Store(path)
    assert path.read_bytes() == b"\xff\xd8 no line break in here"


WHOLE = b'{"key": "a", "value": 1}\n{"key": "b", "value": 2}\n'


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 4096,
        b'{"key": "c", "val',
        b'{"key": "c", "val' + b"\0" * 100,
        b'{"key": "c", "val' + b"\0" * 100 + b"\n",
        b"\0" * 100 + b'ue": 3}\n',
        b'{"k',
    ],
    ids=["zeros", "cut", "cut and zeros", "a hole", "zeros and an end", "hardly begun"],
)
@pytest.mark.parametrize("before", [WHOLE, b""], ids=["behind lines", "alone"])
def test_what_a_power_loss_leaves_at_the_end_is_dropped_and_told(tmp_path, caplog, before, tail):
    path = tmp_path / "store.jsonl"
    path.write_bytes(before + tail)
    store = Store(path)
    known = {"a": 1, "b": 2} if before else {}
    assert dict(store) == known
    assert f"the last {len(tail)} bytes are no whole line" in caplog.text
    assert store.put("c", 4) == 4
    assert path.read_bytes() == before + b'{"key": "c", "value": 4}\n'
    assert dict(Store(path)) == known | {"c": 4}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (WHOLE + b'{"key": "c", \0\0\0\n' + WHOLE, 3),
        (b'{"key": "a"}\n' + WHOLE, 1),
        (WHOLE + b'{"key": "c", "value": oops}\n', 3),
        (WHOLE + b'{"key": "c", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", 3),
    ],
    ids=["zeros", "no value", "no power loss", "deep"],
)
def test_other_damage_is_an_error_that_names_the_line(tmp_path, content, line):
    path = tmp_path / "store.jsonl"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"store\.jsonl, line {line} is damaged"):
        Store(path)
    assert path.read_bytes() == content


def test_a_line_that_is_being_written_is_not_told_as_cut(tmp_path, caplog):
    path = tmp_path / "store.jsonl"
    Store(path).put("a", 1)
    with shared_file(path), path.open("ab") as file:
        file.write(b'{"key": "b", ')
        file.flush()
        reader = threading.Thread(target=lambda: found.update(Store(path)))
        found: dict[str, int] = {}
        reader.start()
        time.sleep(0.1)
        file.write(b'"value": 2}\n')
    reader.join()
    assert found == {"a": 1, "b": 2} and not caplog.text


def test_a_store_that_another_has_taken_the_place_of_is_read_anew(tmp_path):
    path = tmp_path / "store.jsonl"
    store = Store(path)
    store.put("a", 1)
    Store(tmp_path / "other").put("long", "x" * 100)
    Store(tmp_path / "other").put("b", 2)
    (tmp_path / "other").replace(path)
    assert store.put("b", 3) == 2 and store.put("c", 4) == 4
    assert dict(Store(path)) == {"long": "x" * 100, "b": 2, "c": 4}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_no_store(tmp_path, there):
    target = tmp_path / "target"
    if there:
        Store(target).put("a", 1)
    before = target.read_bytes() if there else None
    (tmp_path / "store").symlink_to(target)
    with pytest.raises(ArtefactError, match="store is a link; name the file that it leads to"):
        Store(tmp_path / "store").ready()
    assert (target.read_bytes() if there else None) == before and target.exists() == there


def test_a_pipe_is_no_store(tmp_path):
    os.mkfifo(tmp_path / "store")
    with pytest.raises(ArtefactError, match="not a regular file"):
        Store(tmp_path / "store")


def _agree(path: Path, owner: int, answers: Any, all_there: Any) -> None:
    store = Store(path)
    all_there.wait(60)
    numbers = list(range(100))
    random.Random(owner).shuffle(numbers)
    answers.put({f"shared {number}": store.put(f"shared {number}", owner) for number in numbers})


def test_processes_that_share_a_store_have_the_answers_that_are_on_disk(tmp_path):
    path = tmp_path / "store.jsonl"
    context = multiprocessing.get_context("spawn")
    answers, all_there = context.Queue(), context.Barrier(4)
    workers = [
        context.Process(target=_agree, args=(path, owner, answers, all_there)) for owner in range(4)
    ]
    for worker in workers:
        worker.start()
    given = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    on_disk = {line["key"]: line["value"] for line in lines}
    assert len(lines) == len(on_disk) == 100
    assert all(own == on_disk for own in given)
    assert [place.name for place in tmp_path.iterdir()] == ["store.jsonl"]


def test_the_disk_is_waited_for_once_a_second(tmp_path, monkeypatch):
    waits = []
    stock = os.fsync
    monkeypatch.setattr(os, "fsync", lambda place: (waits.append(place), stock(place)))
    store = Store(tmp_path / "store.jsonl")
    for number in range(50):
        store.put(str(number), number)
    assert 2 <= len(waits) <= 4, "the first line, its folder's entry, and a second later at most"
