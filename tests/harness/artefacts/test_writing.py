"""Files and folders appear whole or not at all, and one process at a time works in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.artefacts.locks import alone, shared_file
from harness.artefacts.writing import (
    appearing,
    append_line,
    replacing,
    replacing_text,
    write_json,
    write_lines,
    write_text,
)
from harness.errors import ArtefactError, HarnessError

HALF = "a\ud83db"  # half a surrogate pair, which no file can hold


def test_what_was_there_stays_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.txt"
    write_text(file, "first")
    with pytest.raises(ZeroDivisionError), replacing(file) as draft:
        draft.write_bytes(b"half")
        assert file.read_text() == "first"
        raise ZeroDivisionError
    assert [p.name for p in file.parent.iterdir()] == ["a.txt"]
    with replacing(file) as draft:
        draft.write_bytes(b"second")
    assert file.read_bytes() == b"second"
    assert [p.name for p in file.parent.iterdir()] == ["a.txt"]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "x"


def test_json_and_lines_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ü": [1, HALF]})
    assert (tmp_path / "a.json").read_bytes() == '{\n "ü": [\n  1,\n  "a?b"\n ]\n}\n'.encode()
    write_lines(tmp_path / "a.jsonl", [{"ü": 1}, {"t": HALF}])
    assert (tmp_path / "a.jsonl").read_bytes() == '{"ü": 1}\n{"t": "a?b"}\n'.encode()
    append_line(tmp_path / "a.jsonl", {"n": 2}, dumps=json.dumps)
    assert (tmp_path / "a.jsonl").read_text().splitlines()[-1] == '{"n": 2}'
    with replacing_text(tmp_path / "b") as file:
        file.write("a\r\nb\n")
    assert (tmp_path / "b").read_bytes() == b"a\r\nb\n"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), appearing(tmp_path / "out") as draft:
        (draft / "x").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with appearing(tmp_path / "out") as draft:
        (draft / "x").write_text("x")
        assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ArtefactError, match="cannot be written"), appearing(tmp_path / "out") as d:
        (d / "y").write_text("y")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x"]


def test_a_folder_appears_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    with appearing(tmp_path / "cache" / "out") as draft:
        (draft / "a.txt").write_text("a")
    assert (tmp_path / "disk" / "out" / "a.txt").read_text() == "a"


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "a"):
        with pytest.raises(HarnessError, match=f"^cannot write {place}: "):
            write_text(place, "x")


CHILD = """
import sys, time
from pathlib import Path
from harness.artefacts.locks import alone
with alone(Path(sys.argv[1]), "test"):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "in\n"
        with pytest.raises(HarnessError, match=f"another test works on {tmp_path}; wait for it"):
            alone(tmp_path, "test").__enter__()
        os.kill(child.pid, signal.SIGKILL)
    with alone(tmp_path, "test"):
        pass


WRITER = """
import sys
from pathlib import Path
from harness.artefacts.locks import shared_file
file = Path(sys.argv[1])
for _ in range(200):
    with shared_file(file):
        file.write_text(str(int(file.read_text()) + 1))
"""


def test_processes_take_turns_at_a_file(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(file)]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert file.read_text() == "600"
    start = time.perf_counter()
    for _ in range(200):
        with shared_file(file):
            pass
    assert time.perf_counter() - start < 2
