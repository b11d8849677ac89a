"""``harness plugins``: what is installed, what each plugin brings, and what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.host import checking, discovery

if TYPE_CHECKING:
    from rich.console import Console


def plugins(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the traceback of a broken plugin.")
    ] = False,
) -> None:
    """List plugins, what each brings to lm-eval, and why a broken one is broken."""
    from rich.console import Console
    from rich.table import Table

    checking.refuse_lm_evals_names()
    faults = {plugin.name: checking.faults(plugin) for plugin in discovery.plugins()}
    table = Table(title="paperharness plugins")
    for column in ("plugin", "version", "brings", "state"):
        table.add_column(column, overflow="fold")
    for plugin in discovery.plugins():
        state = _state(plugin, faults[plugin.name])
        table.add_row(plugin.name, plugin.version, _brings(plugin), state)
    console = Console()
    console.print(table)
    for plugin in discovery.plugins():
        if plugin.error:
            _print(console, f"{plugin.name} is broken: {plugin.error}")
        if verbose and plugin.traceback:
            console.print(plugin.traceback, markup=False, highlight=False, soft_wrap=True)
        for fault in faults[plugin.name]:
            _print(console, f"{plugin.name} is faulty: {fault}")


def _brings(plugin: discovery.Plugin) -> str:
    lines = []
    for kind in discovery.KINDS:
        names = sorted(plugin.of_kind(kind))
        if names:
            lines.append(f"{kind}{'s' if len(names) > 1 else ''}: {', '.join(names)}")
    return "\n".join(lines) or "nothing"


def _state(plugin: discovery.Plugin, faults: list[str]) -> str:
    if plugin.error:
        return "[red]broken[/]"
    return "[red]faulty[/]" if faults else "[green]ok[/]"


def _print(console: Console, line: str) -> None:
    console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
