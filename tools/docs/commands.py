"""The reference of ``harness``: every command as its own ``--help`` knows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from harness.cli import app
from tools.docs.tables import code, page, table

_INTRODUCTION = (
    "Every command of `harness`, as `harness COMMAND --help` tells it. The evaluation itself is "
    "lm-eval's own command, `lm_eval`, with the [models](models.md) and [tasks](tasks.md) that "
    "the plugins bring."
)


def commands() -> Iterator[tuple[str, Any]]:
    """Commands that do something, by their words."""
    yield from _leaves("harness", app.build())


def commands_page() -> str:
    """The page of all commands."""
    return page("Commands", _INTRODUCTION, *(_part(words, one) for words, one in commands()))


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, inner in below.items():
        yield from _leaves(f"{words} {name}", inner)


def _part(words: str, command: Any) -> str:
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    arguments = [p for p in shown if not _options(p)]
    usage = " ".join([words, *(_argument(p) for p in arguments), "[OPTIONS]"])
    rows = [(_name(p), _default(p), _text(p.help or "")) for p in shown]
    return "\n\n".join(
        part
        for part in (
            f"## {words}",
            _text(_undented(command.help)),
            f"```text\n{usage}\n```",
            table(["argument", "default", ""], rows) if rows else "",
            _example(command.epilog),
        )
        if part
    )


def _options(parameter: Any) -> list[str]:
    return [o for o in (*parameter.opts, *parameter.secondary_opts) if o.startswith("-")]


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    many = f"{name}…" if parameter.nargs == -1 else name
    return many if parameter.required else f"[{many}]"


def _name(parameter: Any) -> str:
    options = _options(parameter)
    if not options:
        return code(_argument(parameter))
    value = "" if getattr(parameter, "is_flag", False) or not parameter.metavar else " "
    return ", ".join(code(o) for o in options) + (value and f" {code(parameter.metavar)}")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, "", False, ()) or callable(parameter.default):
        return ""
    if parameter.default is True:
        return "on"
    return code(parameter.default)


def _undented(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b", "")


def _example(epilog: str | None) -> str:
    """What a command's help ends with; an example is code."""
    text = _undented(epilog)
    if found := re.match(r"Examples?:\s*(.+)$", text, re.DOTALL):
        return f"```bash\n{found[1]}\n```"
    return _text(text)


def _text(text: str) -> str:
    return re.sub(r"([<>*_\[\]{}])", r"\\\1", text)
