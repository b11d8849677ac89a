"""The commands that a page prints, and what they have printed.

Fenced blocks in ``bash`` or ``sh`` are run as they stand, of ``console`` the lines behind ``$``
with their continuations. A block that cannot be run everywhere has the reason in a comment above:

    <!-- not run: it needs a GPU -->

What a block prints is put by ``make docs`` between it and the next text, where it asks for that by
a comment below, which may name the lines that are shown:

    <!-- output -->
    <!-- output: lines with DiffMean|Random -->

A file that the page's commands need is a block with its name in a comment above:

    <!-- file: study.yaml -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n+)?"
    r"^```(?P<kind>bash|console|sh)\n(?P<body>.*?)^```$"
    r"(?:\n+^<!-- output(?:: lines with (?P<lines>[^\n]+?))? -->$"
    r"(?P<output>\n```text\n.*?^```$)?)?",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"^<!-- file: (\S+) -->\n+```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"^<!-- (?:output|not run)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands that stand together.

    Attributes:
        line: Where its commands begin, from 1.
        script: What a shell runs.
        reason: Why it is not run; empty if it is.
        shows: Whether the page shows what it prints.
        lines: What a line must match to be shown.
        printed: What the page says that it prints.
    """

    line: int
    script: str
    reason: str
    shows: bool
    lines: str
    printed: str

    def shown(self, output: str) -> str:
        """Of what was printed, what the page shows."""
        kept = [line.rstrip() for line in output.splitlines() if re.search(self.lines, line)]
        return "\n".join(kept).strip("\n") + "\n"


def blocks(text: str) -> list[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: A comment for a block stands by none.
    """
    found = list(_BLOCK.finditer(text))
    markers = sum(bool(f["reason"]) + ("<!-- output" in f[0]) for f in found)
    if markers != len(_MARKER.findall(text)):
        raise ValueError("a comment '<!-- not run: … -->' or '<!-- output -->' stands by no block")
    return [_block(text, one) for one in found]


def files(text: str) -> dict[str, str]:
    """The files that a page shows for its commands: content by name."""
    return dict(_FILE.findall(text))


def with_outputs(text: str, outputs: list[str | None]) -> str:
    """A page with what its blocks have printed; None leaves a block as it is."""
    waiting = iter(outputs)

    def put(found: re.Match[str]) -> str:
        output = next(waiting)
        if output is None or "<!-- output" not in found[0]:
            return found[0]
        shown = _block(text, found).shown(output)
        head = found[0].removesuffix(found["output"] or "")
        return f"{head}\n```text\n{shown}```"

    return _BLOCK.sub(put, text)


def pages(root: Path) -> list[Path]:
    """Pages of the repository that print commands."""
    places = [root / "README.md", *root.glob("docs/**/*.md"), *root.glob("plugins/*/README.md")]
    return [place for place in sorted(places) if blocks(place.read_text(encoding="utf-8"))]


def _block(text: str, found: re.Match[str]) -> Block:
    body, kind = found["body"], found["kind"]
    return Block(
        line=text.count("\n", 0, found.start("body")) + 1,
        script=_typed(body) if kind == "console" else body,
        reason=found["reason"] or "",
        shows="<!-- output" in found[0],
        lines=found["lines"] or "",
        printed=(found["output"] or "").removeprefix("\n```text\n").removesuffix("```"),
    )


def _typed(body: str) -> str:
    """What is typed of a console: lines behind ``$``, and those that go on from them."""
    lines, goes_on = [], False
    for line in body.splitlines():
        if line.startswith("$ "):
            lines.append(line.removeprefix("$ "))
        elif goes_on or (lines and _open("\n".join(lines))):
            lines.append(line)
        goes_on = bool(lines) and lines[-1].endswith("\\")
    return "\n".join(lines) + "\n"


def _open(script: str) -> bool:
    """Whether a quoted text of the script has not ended."""
    return len(re.findall(r"(?<!\\)'", re.sub(r'"[^"\']*"', "", script))) % 2 == 1
