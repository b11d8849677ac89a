"""Files from anywhere: what is no regular file, too large or of another shape is one line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import HarnessError
from harness.artefacts.reading import fitting, loads, read_bytes, read_json, read_record, regular
from harness.errors import one_line, shown


@dataclass(frozen=True)
class Box:
    width: int
    names: list[str]


def test_a_record(tmp_path: Path) -> None:
    file = tmp_path / "box.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"width": 3, "names": ["a"]}).encode())
    assert read_record(file, Box) == Box(3, ["a"])
    assert fitting(list[int], [1, 2], "here") == [1, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b'{"width": "wide", "names": []}',
            r"box\.json is damaged: width: Input should be a valid i",
        ),
        (b'{"width": "w", "names": 3}', r"width: .*, and 1 more"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"width": 3', r"no valid JSON \(Expecting .*, line 1\)"),
        (b"\x00" * 9, "no valid JSON"),
        (b'["\xff"]', "no UTF-8 at byte 2"),
        (b'["\\ud83d"]', "half a surrogate pair in a text: '"),
        (b"9" * 5000, "is damaged: Exceeds the limit"),
        (b"", "no valid JSON"),
    ],
)
def test_damaged_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "box.json"
    file.write_bytes(content)
    with pytest.raises(HarnessError, match=said):
        read_record(file, Box)


def test_deep_values_are_refused_when_checked() -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(HarnessError, match="here is damaged"):
        fitting(Box, deep, "here")


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(
            HarnessError, match=r"cannot be read: (not a regular file|Is a directory)"
        ):
            read_json(path)
    with pytest.raises(HarnessError, match="none cannot be read: No such file"):
        read_json(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link") == 1234
    with pytest.raises(OSError, match="symbolic"), regular(tmp_path / "link", links=False):
        pass
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_bytes(tmp_path / "file", 3)


def test_control_characters_are_shown() -> None:
    hostile = "a\x1b]0;title\x07\x9b2Jb\u202e\r\n"
    assert shown(hostile) == "a\\x1b]0;title\\x07\\x9b2Jb\\u202e\\r\n"
    assert one_line(hostile) == "a\\x1b]0;title\\x07\\x9b2Jb\\u202e"
    for plain in ("plain", "Zürich 東京 \U0001f468\u200d\U0001f469", "a\tb\nc"):
        assert shown(plain) == plain


def test_values() -> None:
    assert loads('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}
    assert loads(b"\xef\xbb\xbf[1]") == [1]
