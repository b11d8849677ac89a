"""Files and texts, mangled: what readers of strangers' files must take in their stride."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import safe_load

from harness.errors import HarnessError


@dataclass(frozen=True)
class Target:
    """A reader and the files that it reads, which are valid as they lie there.

    Attributes:
        name: What is read.
        files: The files that may be mangled.
        read: Reads them all; may raise a ``HarnessError`` of one line and nothing else.
    """

    name: str
    files: list[Path]
    read: Callable[[], object]


SECONDS = 1.0
"""CPU time of a read, at most."""


def read_mangled(target: Target, chance: random.Random) -> str:
    """What becomes of a target with one of its files mangled, which is put right again.

    Returns:
        ``read``, or the one line by which it is refused.

    Raises:
        AssertionError: It is refused by several lines, or it took too long.
    """
    path = chance.choice(target.files)
    whole = path.read_bytes()
    path.write_bytes(mangled(whole, chance, yaml=path.suffix == ".yaml"))
    try:
        return outcome(target)
    finally:
        path.write_bytes(whole)


def valid_once(targets: list[Target]) -> dict[str, Target]:
    """Targets by name, each read once: what is imported then takes no time later."""
    for target in targets:
        target.read()
    return {target.name: target for target in targets}


def outcome(target: Target) -> str:
    """``read``, or the one line by which a target is refused.

    Raises:
        AssertionError: It is refused by several lines, or it took too long.
    """
    begun = time.thread_time()  # other processes may hold it up
    found = "read"
    try:
        target.read()
    except HarnessError as error:
        found = str(error)
        assert len(found.splitlines()) == 1, repr(found)
    assert time.thread_time() - begun < SECONDS, target.name
    return found


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("-inf")),
    *(
        "",
        " ",
        "0",
        "x" * 5000,
        "../../../etc/passwd",
        "/dev/zero",
        "a\x00b",
        "\x1b[2J\x9b",
        "\ud800",
    ),
    *("{{7*7}}", "{0}", "=1+1", "<script>", "https://me:pw@host/?k=1", "1e5", "NaN", "\u202ex"),
    *([], {}, [[]], [None], {"": None}, [1, "a", None], _deep(40)),
)
"""In the place of what stands in a JSON file."""


def mangled(content: bytes, chance: random.Random, *, yaml: bool = False) -> bytes:
    """A file's content, changed in one of many ways; JSON and YAML mostly as such."""
    if yaml and chance.random() < 0.6:
        content = json.dumps(safe_load(content)).encode()
    if chance.random() < 0.6 and (changed := _as_json(content, chance)) is not None:
        return changed
    return chance.choice(_WAYS)(bytearray(content), chance)


def _as_json(content: bytes, chance: random.Random) -> bytes | None:
    """One value of a JSON text, or of one of its lines, is another, is gone, or is there twice."""
    try:
        text = content.decode()
        lines = [text] if text.lstrip()[:1] in "[{" and not _are_lines(text) else text.splitlines()
        number = chance.randrange(len(lines))
        value = json.loads(lines[number])
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, (dict, list)) or not value:
        return None
    inner: Any = value
    while True:
        key = (
            chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))
        )
        below = inner[key]
        if not isinstance(below, (dict, list)) or not below or chance.random() < 0.3:
            break
        inner = below
    way = chance.random()
    if way < 0.15:
        del inner[key]
    elif way < 0.25 and isinstance(inner, dict):
        inner[chance.choice(["", "extra", "__class__", *map(str, inner)])] = chance.choice(VALUES)
    elif way < 0.3 and isinstance(inner, list):
        inner.extend(inner[:3])
    else:
        inner[key] = chance.choice(VALUES)
    lines[number] = json.dumps(value)
    return "\n".join(lines).encode() + b"\n"


def _are_lines(text: str) -> bool:
    first, _, rest = text.partition("\n")
    try:
        json.loads(first)
    except ValueError:
        return False
    return bool(rest.strip())


def _flip(content: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 8, 64))):
        if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _cut(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content) + 1)])


def _blank(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    content[start:] = bytes(len(content) - start)
    return bytes(content)


def _insert(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    content[start:start] = chance.choice(_PIECES)
    return bytes(content)


def _replace(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    piece = chance.choice(_PIECES)
    content[start : start + len(piece)] = piece
    return bytes(content)


def _double(content: bytearray, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    content[end:end] = content[start:end]
    return bytes(content)


def _anew(content: bytearray, chance: random.Random) -> bytes:
    return chance.choice(
        (
            b"",
            b"\x00" * 64,
            b"[" * 20_000,
            b'{"a":' * 20_000,
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b"{}",
            b"7",
        )
    )


_WAYS = (_flip, _flip, _cut, _cut, _blank, _insert, _replace, _double, _anew)
_PIECES = tuple(
    piece.encode("utf-8", "surrogatepass")
    for piece in (
        *(
            '"',
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\n",
            "\r\n",
            "\t",
            "\x00",
            "\x1b]0;t\x07",
            "\u202e",
        ),
        *(
            "NaN",
            "-Infinity",
            "1e999",
            "9" * 5000,
            "\\ud800",
            "\ud800",
            "\ufeff",
            "null",
            "!!python/x ",
            "&a [*a]",
        ),
        *(
            "!function os.system",
            "<<: *x",
            "- - - - ",
            "? ",
            "---\n",
            "%TAG ! x\n",
            "'''",
            "=cmd|x",
            "PK\x03\x04",
        ),
    )
)

WORDS = (
    *(
        "Rating:",
        "rating:",
        "Rating",
        "[[2]]",
        "[[",
        "]]",
        "[",
        "]",
        "0",
        "1",
        "2",
        "1/2",
        "2/2",
        "1.5",
        ".",
        "9" * 40,
    ),
    *(
        "Yes",
        "No",
        "yes",
        "no",
        "True",
        "unsafe",
        "safe",
        "Safety:",
        "Harmful response:",
        "refusal",
        "A",
        "B",
        "1)",
        "-",
    ),
    *(
        "{",
        "}",
        '{"',
        '":',
        '"',
        "'",
        ",",
        ":",
        "\\",
        "\\n",
        "```",
        "```json\n",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
    ),
    *(
        "\n",
        "\r\n",
        " ",
        "\t",
        "*",
        "**",
        "#",
        "\u2028",
        "\u00a0",
        "\u0661",
        "\uff11",
        "\u202e",
        "\ud800",
        "\x00",
        "\x1b[",
    ),
    *(
        "pretrained=",
        "a=b",
        "=",
        "null",
        "[]",
        "{}",
        "1e400",
        "-0",
        "NaN",
        "é",
        "東京",
        "the sea ",
        "x" * 50,
        "((((((((",
        "\\u12",
    ),
)
"""What texts are made of that parsers look for, and what they do not."""


def text(chance: random.Random) -> str:
    """A text of such words, seldom a long one."""
    size = int(chance.expovariate(0.15)) if chance.random() < 0.999 else chance.randrange(20_000)
    return "".join(chance.choices(WORDS, k=size))
