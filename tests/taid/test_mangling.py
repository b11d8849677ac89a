"""Files of students, captures, checkpoints and tables, mangled: read, or refused in one line."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from taid.mangling_targets import targets

SCALARS = [None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\x1b]0;x", "3"]
VALUES = [*SCALARS, "../x", "/etc/passwd", "https://example.org/m", [], [[]], {}, {"": 1}]
DEEP = "[" * 100_000 + "]" * 100_000
NAMES = [
    "taid report", "taid page", "a record's teacher", "a kept student", "a capture",
    "shards behind their digests", "its tokenizer", "a checkpoint",
    "a checkpoint behind its digests", "exchanges of rows.csv",
    "exchanges of rows.json", "exchanges of rows.jsonl", "an adapter",
]  # fmt: skip
SLOW = {"taid page": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = targets(tmp_path_factory.mktemp("mangled"))
    assert [target.name for target in found] == NAMES
    for target in found:
        target.read()
    return {target.name: target for target in found}


def placed(value, draw, change):
    """A JSON value with one place in it changed."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return value
    key = draw(st.sampled_from(keys))
    inner = value[key]
    if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
        return (
            value | {key: placed(inner, draw, change)}
            if isinstance(value, dict)
            else [*value[:key], placed(inner, draw, change), *value[key + 1 :]]
        )
    if change == "drop":
        return (
            {k: v for k, v in value.items() if k != key}
            if isinstance(value, dict)
            else [*value[:key], *value[key + 1 :]]
        )
    other = draw(st.sampled_from(VALUES))
    if isinstance(value, dict):
        return value | {key: other}
    return [*value[:key], other, *value[key + 1 :]]


def mangled(content, name, draw):
    """Another content for a file."""
    kinds = ["flip", "cut", "zeros", "insert", "deep", "empty"]
    lined = name.endswith(".jsonl")
    kind = draw(
        st.sampled_from([*kinds, *["value"] * 8, "drop", "drop"] if "json" in name else kinds)
    )
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if kind in ("value", "drop"):
        lines = content.decode().splitlines() if lined else [content.decode()]
        n = draw(st.integers(0, len(lines) - 1))
        lines[n] = json.dumps(placed(json.loads(lines[n]), draw, kind))
        return "\n".join(lines).encode()
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            changed[place] ^= draw(st.integers(1, 255))
            place = draw(st.integers(0, len(content) - 1))
        return bytes(changed)
    return {
        "cut": content[:place],
        "zeros": content[:place] + b"\0" * (len(content) - place),
        "insert": content[:place] + draw(st.binary(min_size=1, max_size=9)) + content[place:],
        "deep": DEEP.encode(),
        "empty": b"",
    }[kind]


@pytest.mark.parametrize("name", NAMES)
def test_mangled_files_are_read_or_refused_in_one_line(made, name):
    target = made[name]
    whole = {path: path.read_bytes() for path in target.files}

    @settings(
        max_examples=SLOW.get(name, 60),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data):
        path = data.draw(st.sampled_from(target.files))
        content = mangled(whole[path], path.name, data.draw)
        path.write_bytes(content)
        try:
            target.read()
        except HarnessError as refused:
            said = str(refused)
            assert said and "\n" not in said and "\x1b" not in said
        finally:
            path.write_bytes(whole[path])

    one()
    for path in target.files:
        path.unlink()
        try:
            for _ in range(2):  # missing, then a folder of that name
                try:
                    target.read()
                except HarnessError as refused:
                    assert "\n" not in str(refused)
                path.mkdir(exist_ok=True)
        finally:
            shutil.rmtree(path)
            path.write_bytes(whole[path])
