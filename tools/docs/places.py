"""Where a file of the repository stands on the site."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|<)([^)#\s]+)")
_LOADED = re.compile(
    r"<(?:script|img|iframe|link rel=.stylesheet.)[^>]* (?:src|href)=.?(https?:[^\s>\"']*)"
)
_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ \t]*$", re.DOTALL | re.MULTILINE)


def elsewhere() -> dict[str, str]:
    """Pages of the site that lie outside of ``docs/``: their address there, by their place."""
    pages = {f"plugins/{paper}/README.md": f"papers/{paper}.md" for paper in papers()}
    pages["CHANGELOG.md"] = "changelog.md"
    pages["harness/testbed/models/README.md"] = "testbed.md"
    for name in ("CONTRIBUTING", "CODE_OF_CONDUCT"):
        if (ROOT / f"{name}.md").is_file():
            pages[f"{name}.md"] = f"{name.lower().replace('_', '-')}.md"
    return pages


def papers() -> list[str]:
    """The plugins' folders, by name."""
    return sorted(file.parent.name for file in ROOT.glob("plugins/*/README.md"))


def address(file: Path) -> str | None:
    """Where a file of the repository is on the site.

    Returns:
        The source's address for a page, ``files/…`` for a file that is shown as it is, None for a
        place that is no file of the repository.
    """
    try:
        place = file.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return None
    if place == "README.md":
        return "index.md"
    if place in (known := elsewhere()):
        return known[place]
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return f"files/{place}" if file.is_file() else None


def rewritten(text: str, source: Path, at: str, needed: Callable[[Path, str], None]) -> str:
    """A page's Markdown with its links as they lead on the site.

    Args:
        text: The Markdown.
        source: The file it is from.
        at: The page's address on the site.
        needed: Called with each file that is shown as it is, and its address.
    """

    def lead(found: re.Match[str]) -> str:
        file = source.parent / found[1]
        target = address(file) if file.exists() else None
        if target is None:
            return found[1]
        if target.startswith("files/"):
            needed(file.resolve(), target)
        return _relative(target, at)

    ends = [0, *(end for found in _FENCE.finditer(text) for end in found.span()), len(text)]
    parts = [text[start:end] for start, end in pairwise(ends)]
    parts[::2] = [_LINK.sub(lead, part) for part in parts[::2]]
    return "".join(parts)


def loaded_from_elsewhere(page: str) -> str:
    """The first address outside of the site that a page's HTML loads; empty if there is none."""
    found = _LOADED.search(page)
    return found[1] if found else ""


def _relative(target: str, at: str) -> str:
    here, there = PurePosixPath(at).parent.parts, PurePosixPath(target).parts
    common = 0
    while common < min(len(here), len(there) - 1) and here[common] == there[common]:
        common += 1
    return "/".join([".."] * (len(here) - common) + list(there[common:]))
