"""Markdown of generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already, but for bars and line breaks."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def code(value: object) -> str:
    """A value as code; empty for nothing."""
    text = str(value)
    return f"`{text}`" if text else ""


def prose(text: str) -> str:
    """A docstring's text as Markdown: its double backticks are code."""
    return " ".join(text.replace("``", "`").split())


def page(title: str, introduction: str, *parts: str) -> str:
    """A page of parts, an empty line between them."""
    return "\n\n".join([f"# {title}", introduction, *(part for part in parts if part)]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
