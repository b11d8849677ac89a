"""The command tree: the host's commands, and each plugin's under its own name."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from harness import __version__, host
from harness.cli import demo, doctor, leaderboard, plugins, score, testbed
from harness.errors import PluginError


class PluginGroup(TyperGroup):
    """Adds plugins' sub-commands; a plugin's code is imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_plugin_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = _plugin_commands().get(cmd_name)
        if command is None:
            return super().get_command(ctx, cmd_name)
        if ctx.resilient_parsing or _only_listing(ctx):
            return click.Group(cmd_name, help=command.help)
        module, _, attribute = command.target.partition(":")
        try:
            loaded: typer.Typer = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as cause:
            raise PluginError(f"command '{cmd_name}' cannot be loaded: {cause}") from cause
        group = typer.main.get_command(loaded)
        group.name, group.help = cmd_name, group.help or command.help
        return group


def _plugin_commands() -> dict[str, host.Command]:
    return {name: c for p in host.plugins() for name, c in p.of_kind("command").items()}


def _only_listing(ctx: click.Context) -> bool:
    """Whether commands are asked for to print the list of them, not to run one."""
    return not (getattr(ctx, "_protected_args", None) or ctx.args)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"paperharness {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Evaluate papers' methods on the same models, with the stock lm_eval command."""


def build() -> click.Command:
    """The whole command tree."""
    app = typer.Typer(
        cls=PluginGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    app.command("plugins")(plugins.plugins)
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("score")(score.score)
    app.add_typer(testbed.app, name="testbed")
    return typer.main.get_command(app)
