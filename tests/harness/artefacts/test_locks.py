"""Locks and drafts: of living processes, of killed ones, and where something else lies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.artefacts.locks import alone, shared_file
from harness.artefacts.making import making
from harness.artefacts.writing import appearing, check_writable, write_text
from harness.asking.store import Store
from harness.errors import HarnessError
from harness.host.edge import interruption, said

WRITES = """
import sys, time
from pathlib import Path
from harness.artefacts import writing
with getattr(writing, sys.argv[1])(Path(sys.argv[2])) as draft:
    (draft / "x" if draft.is_dir() else draft).write_text("of the first")
    print("begun", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextmanager
def writer(kind: str, place: Path, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", WRITES, kind, str(place), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "begun\n"
        yield child


def make_folder(place: Path) -> None:
    with appearing(place) as draft:
        (draft / "x").write_text("of the second")


@pytest.mark.parametrize(
    ("kind", "write"),
    [("replacing", lambda place: write_text(place, "of the second")), ("appearing", make_folder)],
)
def test_what_a_killed_writer_left_is_removed_by_the_next(
    kind: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    with writer(kind, tmp_path / "out") as child:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 2
    write(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    found = tmp_path / "out"
    assert (found / "x" if found.is_dir() else found).read_text() == "of the second"


def test_the_draft_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with writer("replacing", tmp_path / "out", seconds=0.5) as child:
        began = time.monotonic()
        write_text(tmp_path / "out", "of the second")
        assert time.monotonic() - began > 0.3, "it has waited"
        assert child.wait() == 0
    assert (tmp_path / "out").read_text() == "of the second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def lock(place: Path) -> None:
    with alone(place, "test"):
        pass


def put(place: Path) -> None:
    Store(place).put("a", 1)


@pytest.mark.parametrize(
    ("act", "planted"),
    [
        (lock, ".out.lock"),
        (put, ".out.lock"),
        (lambda place: write_text(place, "x"), ".out.draft.lock"),
        (make_folder, ".out.draft.lock"),
    ],
)
def test_a_link_in_a_locks_place_is_refused_and_its_target_untouched(
    act: Callable[[Path], None], planted: str, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / planted).symlink_to(tmp_path / "target")
    with pytest.raises(HarnessError, match=r"\.lock is a link") as caught:
        act(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "target").read_text() == "theirs"
    (tmp_path / planted).unlink()
    (tmp_path / planted).symlink_to(tmp_path / "nowhere")
    with pytest.raises(HarnessError, match="is a link"):
        act(tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("write", [lambda place: write_text(place, "x"), make_folder])
def test_a_link_in_a_drafts_place_is_taken_away(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / ".out.draft").symlink_to(tmp_path / "target")
    write(tmp_path / "out")
    assert (tmp_path / "target").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "target"]


def test_a_lock_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".out.lock")
    with pytest.raises(HarnessError, match=r"\.out\.lock is not a regular file"):
        lock(tmp_path / "out")
    (tmp_path / ".out.lock").unlink()
    (tmp_path / ".out.lock").mkdir()
    with pytest.raises(HarnessError, match="cannot be locked: Is a directory"):
        lock(tmp_path / "out")


def test_a_waiting_lock_is_not_fooled_either(tmp_path: Path) -> None:
    (tmp_path / ".file.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="is a link"), shared_file(tmp_path / "file"):
        pass


def test_what_has_appeared_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with (
        pytest.raises(HarnessError, match=r"another test has just written .*out; run the command"),
        making(tmp_path / "out", "test", lambda: ""),
    ):
        pytest.fail("not to be reached")


def test_an_interruption_says_what_stays(tmp_path: Path) -> None:
    stop = KeyboardInterrupt()
    with pytest.raises(ImportError) as caught, making(tmp_path / "out", "test", lambda: "2 of 3"):
        raise ImportError("numpy") from stop
    found = interruption(caught.value)
    assert found is stop and said(found) == "interrupted; 2 of 3"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/out", "{}/file/out"])
def test_a_folder_that_cannot_appear_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = Path(place.format(tmp_path))
    with pytest.raises(HarnessError, match=f"^--out {out}: .* no folder that can be written to"):
        check_writable(out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_worked_on_and_told(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    lock(tmp_path / "out")
    for text in ("1", "2"):
        write_text(tmp_path / "out", text)
    put(tmp_path / "store")
    assert (tmp_path / "out").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert caplog.text.count("its file system has no locks") == 1
