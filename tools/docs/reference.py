"""Pages that the code makes: nothing in them is written by hand, and none is kept."""

from __future__ import annotations

from collections.abc import Callable

import harness
from tools.docs.arguments import models_page, options_page
from tools.docs.commands import commands_page
from tools.docs.tables import page
from tools.docs.tasks import metrics_page, tasks_page

_API = (
    "The names that the package `harness` exports are all that a plugin needs, and stay; whatever "
    "else the package holds may change with any release. How they are used is shown by "
    "[a whole plugin](../write-a-plugin.md), and by [the contract](../hooks.md)."
)


def python_page() -> str:
    """The page of the public interface, each name where it is defined."""
    homes: dict[str, str] = harness._HOMES
    names = [name for name in homes if name in harness.__all__ and not name.startswith("__")]
    return page("Python", _API, *(f"::: {homes[name]}.{name}" for name in names))


_MAKERS: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/tasks.md": tasks_page,
    "reference/metrics.md": metrics_page,
    "reference/models.md": models_page,
    "reference/options.md": options_page,
    "reference/python.md": python_page,
}
PAGES = tuple(_MAKERS)


def pages() -> dict[str, str]:
    """The generated pages: Markdown by address."""
    return {at: make() for at, make in _MAKERS.items()}
