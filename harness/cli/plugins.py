"""``harness plugins``: what is installed, what each plugin brings, and what is broken."""

from __future__ import annotations

from harness.host import discovery as host


def plugins() -> None:
    """List plugins, what each brings to lm-eval, and why a broken one is broken."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="paperharness plugins")
    for column in ("plugin", "version", "brings", "state"):
        table.add_column(column, overflow="fold")
    for plugin in host.plugins():
        table.add_row(plugin.name, plugin.version, _brings(plugin), _state(plugin))
    console = Console()
    console.print(table)
    for plugin in host.broken():
        console.print(f"{plugin.name} is broken: {plugin.error}", style="red", markup=False)


def _brings(plugin: host.Plugin) -> str:
    lines = []
    for kind in host.KINDS:
        names = sorted(plugin.of_kind(kind))
        if names:
            lines.append(f"{kind}{'s' if len(names) > 1 else ''}: {', '.join(names)}")
    return "\n".join(lines) or "nothing"


def _state(plugin: host.Plugin) -> str:
    return "[green]ok[/]" if plugin.error is None else "[red]broken[/]"
