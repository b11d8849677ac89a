"""Damaged and hostile files: one line of what is wrong, or a file left out; never a traceback."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mangling_targets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangling import Target

from harness.errors import HarnessError

pytestmark = pytest.mark.long

STRANGE: list[Any] = [
    *(None, True, False, 0, 1, -1, 10**400, -(10**30), 1e308, -0.5, float("nan"), float("inf")),
    *("", "x", "\x1b]0;t\x07", "../../x", "\ud800", "a\x00b", "9" * 5000, "=1+1", "x" * 300),
    *([], [[]], [None], ["x"], {}, {"x": 1}, {"": {}}, [[[[]]]] * 3),
]


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a JSON value."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*above, key)
            yield from paths(inner, (*above, key))


def field_replaced(content: bytes, rng: random.Random) -> bytes:
    """A document, or one line of several, with a field replaced, renamed or left out."""
    lines = content.splitlines() if b"\n{" in content else [content]
    place = rng.randrange(len(lines))
    value = json.loads(lines[place])
    *above, key = rng.choice(list(paths(value)))
    inside = value
    for step in above:
        inside = inside[step]
    how = rng.randrange(10)
    if how == 0:
        del inside[key]
    elif how == 1 and isinstance(inside, dict):
        inside[rng.choice(["x", "", "\x1b[2J", "../x", "a" * 300])] = inside.pop(key)
    elif how == 2:
        depth = rng.choice([5, 200, 900, 3000])
        inside[key] = "planted here"
        nested = "[" * depth + "]" * depth
        lines[place] = json.dumps(value).replace('"planted here"', nested).encode()
        return b"\n".join(lines)
    else:
        inside[key] = rng.choice(STRANGE)
    lines[place] = json.dumps(value).encode()
    return b"\n".join(lines)


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 20])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def torn(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))] + b"\0" * rng.choice([0, 0, 7, 4096])


def doubled(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:end] + content[start:]


WAYS: list[Callable[[bytes, random.Random], bytes]] = [
    *(field_replaced,) * 6, flipped, torn, doubled
]  # fmt: skip


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    found = mangling_targets.targets(tmp_path_factory.mktemp("mangled"))
    return {target.name: target for target in found}


def sound(read: Callable[[], object]) -> None:
    """Read; what is raised is one line of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except HarnessError as error:
        said = str(error)
        assert said and "Traceback" not in said


NAMES = (
    "leaderboard",
    "compare",
    "score",
    "axbench report",
    "axbench baseline",
    "astral report",
    "taid report",
    "view",
)


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(targets: dict[str, Target], name: str) -> None:
    targets[name].read()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_mangled_files(targets: dict[str, Target], name: str, seed: int) -> None:
    rng = random.Random(seed)
    target = targets[name]
    file = rng.choice(target.files)
    content = file.read_bytes()
    try:
        file.write_bytes(rng.choice(WAYS)(content, rng))
        sound(target.read)
    finally:
        file.write_bytes(content)


RESULTS, FIRST, LAST = 0, 1, -1
NESTED = "[" * 3000 + "]" * 3000
KNOWN: list[tuple[str, int, tuple[Any, ...], Any]] = [
    ("score", RESULTS, ("configs", "axbench_steer"), []),
    ("score", RESULTS, ("configs",), [1]),
    ("score", RESULTS, ("configs", "x" * 400), {"task": "x"}),
    ("score", RESULTS, ("n-samples",), 3),
    ("score", RESULTS, ("n-samples", "axbench_steer"), "many"),
    ("score", RESULTS, ("results", "axbench_steer"), 1),
    ("score", FIRST, ("filter",), ["none"]),
    ("score", FIRST, ("resps",), []),
    ("score", FIRST, ("resps",), 1),
    ("score", FIRST, ("metrics",), None),
    ("score", FIRST, ("filtered_resps", 0), NESTED),
    ("score", FIRST, ("doc",), 7),
    ("score", FIRST, ("doc", "concept"), None),
    ("score", FIRST, ("doc", "factor"), "strong"),
    ("score", LAST, ("doc", "prompt"), 1),
    ("score", LAST, ("doc", "kind"), {}),
    ("axbench report", LAST, ("overall_score", "fluency"), 10**400),
    ("axbench report", FIRST, ("auroc", "score"), 10**400),
    ("axbench report", FIRST, ("filter",), {}),
    ("axbench baseline", FIRST, ("overall_score", "concept_id"), [0]),
    ("axbench baseline", FIRST, ("overall_score", "split"), None),
    ("axbench baseline", FIRST, ("doc",), "x"),
    ("astral report", FIRST, ("filtered_resps", 0), NESTED),
    ("taid report", RESULTS, ("config", "model_args"), NESTED),
    ("view", FIRST, ("auroc", "score"), 10**400),
]


@pytest.mark.parametrize(("name", "which", "place", "value"), KNOWN)
def test_ways_that_once_were_tracebacks(
    targets: dict[str, Target], name: str, which: int, place: tuple[Any, ...], value: Any
) -> None:
    file = targets[name].files[which]
    content = file.read_bytes()
    first, *rest = content.splitlines() if which else [content]
    changed = json.loads(first)
    inside = changed
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    try:
        file.write_bytes(b"\n".join([json.dumps(changed).encode(), *rest]))
        sound(targets[name].read)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("name", mangling_targets.PARSERS)
@settings(deadline=1000)
@given(text=st.text() | st.text('{}[]":,0123456789.-/ \nRating:truefalsn'))
def test_texts(name: str, text: str) -> None:
    sound(lambda: mangling_targets.PARSERS[name](text))


def link(place: Path) -> None:
    place.symlink_to("/etc/hostname")


def test_what_is_no_file(targets: dict[str, Target], tmp_path: Path) -> None:
    """A pipe would block for ever, a link would show what is not the sender's."""
    for target in targets.values():
        for file in target.files:
            kept = file.rename(tmp_path / "kept")
            for make in (os.mkfifo, os.mkdir, link):
                make(file)
                sound(target.read)
                file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
            kept.rename(file)
