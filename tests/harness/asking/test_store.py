"""The append-only store: nothing finished is lost, nothing half-written is read."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.asking.store import Store, cache_folder, key_of
from harness.errors import ArtefactError


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
