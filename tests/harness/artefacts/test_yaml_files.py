"""YAML from anywhere: what is no plain value of a bounded size is one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.artefacts.yaml_files import LARGEST, read_yaml
from harness.errors import ArtefactError, DataError


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "a.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_plain_values(tmp_path: Path) -> None:
    text = "\ufeffa: [1, two, 3.5, true, null]\nb: {c: '{{ x }} {}'}\n"
    expected = {"a": [1, "two", 3.5, True, None], "b": {"c": "{{ x }} {}"}}
    assert read_yaml(written(tmp_path, text)) == expected


LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{n}: &{n} [*{before}, *{before}]\n" for before, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS, "line 2: an alias; write out what it stands for"),
        ("&a [*a]", "line 1: an alias"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is there before"),
        ("[" * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "line 1: a number of 5,000 digits"),
        ("a: 0x" + "f" * 5000, "line 1: a number of 5,002 digits"),
        ("a: !!int x", "cannot be read as YAML"),
        ("a: !!timestamp x", "cannot be read as YAML"),
        ("a: !!bool x", "cannot be read as YAML"),
        ("a: !!map x", "cannot be read as YAML"),
        ("a: 2001-99-99", "cannot be read as YAML: month must be"),
        ("a: !!python/object/apply:os.system ['touch planted']", "could not determine a construc"),
        ("? [a, b]\n: c", "cannot be read as YAML"),
        ('a: "\\ud83d"', "line 1: half a surrogate pair"),
        ("a: \x1b[2J", "unacceptable character"),
        (b"a: \xff", "no UTF-8 at byte 3"),
        ("a: [", "cannot be read as YAML"),
        ("x" * (LARGEST + 1), "cannot be read: more than 1,048,576 bytes"),
    ],
)
def test_what_is_not_plain_is_one_line(tmp_path: Path, content: bytes | str, said: str) -> None:
    path = written(tmp_path, content)
    started = time.process_time()
    with pytest.raises(DataError, match=said) as told:
        read_yaml(path)
    assert time.process_time() - started < 3
    assert str(told.value).startswith(str(path)) and str(told.value).isprintable()


def test_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, said in (
        ("pipe.yaml", "not a regular file"),
        (".", "cannot be read"),
        ("x", "No su"),
    ):
        with pytest.raises(ArtefactError, match=said):
            read_yaml(tmp_path / name, ArtefactError)
