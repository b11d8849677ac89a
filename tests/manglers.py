"""Files made wrong: bytes flipped, cut, put in; any value of a JSON or YAML file replaced."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import yaml
from mangling import Target

from harness.errors import HarnessError

SECONDS = 1.0
"""CPU time of a read, at most."""
DEEP: Any = []
for _ in range(700):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 10**30, 1.5, float("nan"), float("inf"), -0.0, DEEP),
    *("", " ", "x", "\x1b[2J\x9b", "a\nb", "\u202e", "\ud83d", "../../x", "/dev/zero", "a\0b"),
    *("{}", "{{ 7 * 7 }}", "{document}", "9" * 50, "é" * 300, [], {}, [[]], {"a": {}}, [None], [1]),
    *({"a": "b"}, ["x", "y"], [{}], {"1": 1}),
)
BYTES = (b"\x00", b"\xff", b"\xef\xbb\xbf", b"\x1b[2J", b"{", b"[", b'"', b",", b"\n", b"\\ud83d")


def mangle(target: Target, random: Random) -> None:
    """Read a target's files with one of them made wrong; it is put right again.

    Raises:
        AssertionError: What is raised is no error of one line, or it took too long.
    """
    path = random.choice(target.files)
    good = path.read_bytes()
    path.write_bytes(mangled(good, path.suffix, random))
    started = time.process_time()
    try:
        target.read()
    except HarnessError as error:
        assert len(str(error).splitlines()) == 1, repr(str(error))
    finally:
        path.write_bytes(good)
    assert time.process_time() - started < SECONDS


def mangled(content: bytes, suffix: str, random: Random) -> bytes:
    """A file's content, made wrong in one way or several."""
    if suffix in (".json", ".jsonl", ".yaml") and random.random() < 0.6:
        return _values(content, suffix, random)
    for _ in range(random.choice((1, 1, 3, 9))):
        place = random.randrange(len(content) + 1)
        kind = random.randrange(4)
        if kind == 0:
            content = content[:place]
        elif kind == 1 and content:
            place = min(place, len(content) - 1)
            flipped = bytes([content[place] ^ (1 << random.randrange(8))])
            content = content[:place] + flipped + content[place + 1 :]
        elif kind == 2:
            content = content[:place] + random.choice(BYTES) + content[place:]
        else:
            content = content[:place] + content[place + random.randrange(40) :]
    return content


def _values(content: bytes, suffix: str, random: Random) -> bytes:
    if suffix == ".yaml":
        return json.dumps(_replaced(yaml.safe_load(content), random)).encode()
    lines = content.splitlines()
    if suffix == ".json" and len(lines) > 1 and not lines[0].endswith(b"}"):
        return json.dumps(_replaced(json.loads(content), random)).encode()
    place = random.randrange(len(lines))
    lines[place] = json.dumps(_replaced(json.loads(lines[place]), random)).encode()
    return b"\n".join(lines) + b"\n"


def _replaced(value: Any, random: Random) -> Any:
    """A value in which one part, at any depth, is another, or gone, or there is one more."""
    if not isinstance(value, (dict, list)) or not value or random.random() < 0.15:
        return random.choice(VALUES)
    if isinstance(value, list):
        place = random.randrange(len(value))
        return [_replaced(own, random) if k == place else own for k, own in enumerate(value)]
    key = random.choice(list(value))
    kind = random.randrange(8)
    if kind == 0:
        return {name: own for name, own in value.items() if name != key}
    if kind == 1:
        return value | {random.choice(("x", "\x1b", "\ud83d", "")): random.choice(VALUES)}
    return value | {key: _replaced(value[key], random)}
