"""What every command has, whoever wrote it: plain words in ``--help``, its example, no secret."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from typer.core import TyperGroup

from harness.secrets import struck

EXAMPLE = "Example: "
"""How the last paragraph of a command's docstring begins."""
_WORDS = {int: "n", float: "number", Path: "path", str: "text"}


class Tree(TyperGroup):
    """Shows no secret where words are none that a command knows."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _struck():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _struck():
            return super().invoke(ctx)


@contextmanager
def _struck() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(getattr(error, "message", None), str):  # typer's, of a wrong usage
            error.message = struck(error.message)  # type: ignore[attr-defined]
        raise


def leaves(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command below one that has no commands below itself, with the words that lead to it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from leaves(one, *path, name)


def finish(command: Any) -> Any:
    """Say what values an option takes as lm-eval does, and end each help with its example.

    Args:
        command: The whole tree, as typer has made it; it is changed.
    """
    _say_values(command, get_type_hints(_own(command)) if command.callback else {})
    said, command.epilog = _example_last(command.help, command.epilog)
    command.help = None if said is None else _flowing(said)
    for below in getattr(command, "commands", {}).values():
        finish(below)
    return command


def _own(command: Any) -> Any:
    return inspect.unwrap(command.callback)


def _example_last(said: str | None, epilog: str | None) -> tuple[str | None, str | None]:
    """A command's help without its example, and the example, which stands below all options."""
    before, gap, last = (said or "").rpartition("\n\n")
    if epilog or not gap or not last.startswith(EXAMPLE):
        return said, epilog
    return before, " ".join(last.split())


def _flowing(said: str) -> str:
    """A docstring without the line breaks that are the source's."""
    paragraphs = said.split("\n\n")
    return "\n\n".join(
        p if "\n " in p or p[:1].isspace() else " ".join(p.split()) for p in paragraphs
    )


def _say_values(command: Any, types: dict[str, Any]) -> None:
    for param in [*command.params, *_help_option(command)]:
        word = _word(param, types.get(param.name))
        if param.param_type_name == "option":
            param.metavar = f"<{word}>" if word else ""
        elif hasattr(param, "display_type"):
            # an argument is called by its metavar; beside it newer typers put Python's type
            param.display_type = lambda ctx, word=word: "" if word == "text" else f"<{word}>"


def _help_option(command: Any) -> list[Any]:
    """``--help``, which typer makes when it is first asked for, and keeps."""
    found = command.get_help_option(command.context_class(command))
    return [found] if found is not None else []


def _word(param: Any, kind: Any) -> str:
    """What stands for an option's value; nothing for a flag."""
    if getattr(param, "is_flag", False) or kind is bool:
        return ""
    if param.param_type_name == "option" and param.metavar:
        return str(param.metavar).strip("<>").lower()
    return next((_WORDS[one] for one in _kinds(kind) if one in _WORDS), "text")


def _kinds(kind: Any) -> Iterator[Any]:
    """The types in a type: ``list[Path] | None`` is one of paths."""
    if get_origin(kind) in (Union, UnionType, list, tuple):
        for one in get_args(kind):
            yield from _kinds(one)
    elif kind is not NoneType:
        yield kind
