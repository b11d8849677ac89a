"""``harness plugins``: what is installed, what each plugin brings, and what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, meant
from harness.host import checking, discovery, task_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_MANY = 8
"""Tasks that are all shown."""


def plugins(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLUGIN]...",
            help="Only these, with all their tasks.",
            show_default=False,
            autocompletion=lambda incomplete: [
                plugin.name for plugin in discovery.plugins() if plugin.name.startswith(incomplete)
            ],
        ),
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all tasks; else long lists show groups and tags.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the traceback of a broken plugin.")
    ] = False,
) -> None:
    """List plugins, what each brings to lm-eval, and why a broken one is broken.

    Example: harness plugins factcg
    """
    from rich.console import Console
    from rich.table import Table

    checking.refuse_lm_evals_names()
    chosen = _chosen(names or [])
    faults = {plugin.name: checking.faults(plugin) for plugin in chosen}
    table = Table(title="paperharness plugins")
    for column in ("plugin", "version", "brings", "state"):
        table.add_column(column, overflow="fold")
    for plugin in chosen:
        brings = _brings(plugin, whole=everything or bool(names))
        table.add_row(plugin.name, plugin.version, brings, _state(plugin, faults[plugin.name]))
    console = Console()
    console.print(table)
    for plugin in chosen:
        if plugin.error:
            _print(console, f"{plugin.name} is broken: {plugin.error}")
        if verbose and plugin.traceback:
            console.print(plugin.traceback, markup=False, highlight=False, soft_wrap=True)
        for fault in faults[plugin.name]:
            _print(console, f"{plugin.name} is faulty: {fault}")


def _chosen(names: Sequence[str]) -> list[discovery.Plugin]:
    """The plugins of some names, or all.

    Raises:
        HarnessError: There is no such plugin.
    """
    known = {plugin.name: plugin for plugin in discovery.plugins()}
    for name in names:
        if name not in known:
            rest = meant(name, known, "there are")
            raise HarnessError(f"no plugin is called '{name}'; {rest}")
    return [known[name] for name in dict.fromkeys(names)] or [*known.values()]


def _brings(plugin: discovery.Plugin, *, whole: bool) -> str:
    lines = []
    for kind in discovery.KINDS:
        names = sorted(plugin.of_kind(kind))
        if names:
            shown = names if whole or kind != "task" else _folded(plugin, names)
            lines.append(f"{kind}{'s' if len(names) > 1 else ''}: {', '.join(shown)}")
    return "\n".join(lines) or "nothing"


def _folded(plugin: discovery.Plugin, names: Sequence[str]) -> list[str]:
    """Names of tasks; of a long list those of a group or tag are counted beside its name."""
    if len(names) <= _MANY:
        return list(names)
    below: dict[str, set[str]] = {}
    for name in names:
        file = task_files.read(plugin.of_kind("task")[name])
        if file.name == name and file.kind == "group":
            below.setdefault(name, set()).update(set(file.members) & set(names))
        for tag in file.tags if file.name == name else ():
            below.setdefault(tag, set()).add(name)
    inside = set().union(*below.values())
    return [
        f"{name} (and its {len(below[name])})" if below.get(name) else name
        for name in names
        if name not in inside
    ]


def _state(plugin: discovery.Plugin, faults: list[str]) -> str:
    if plugin.error:
        return "[red]broken[/]"
    return "[red]faulty[/]" if faults else "[green]ok[/]"


def _print(console: Console, line: str) -> None:
    console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
