"""The command tree: the host's commands, and each plugin's under its own name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from harness._version import __version__
from harness.cli import (
    compare,
    demo,
    doctor,
    export,
    leaderboard,
    plugins,
    run,
    score,
    testbed,
    view,
)
from harness.cli.tree import Tree, finish
from harness.errors import PluginError
from harness.host import discovery


def build() -> Callable[..., Any]:
    """The whole command tree, ready to be called."""
    app = typer.Typer(
        cls=Tree, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    app.command("plugins")(plugins.plugins)
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("export")(export.export)
    app.command("run")(run.run)
    app.command("score")(score.score)
    app.command("compare")(compare.compare)
    app.command("view")(view.view)
    app.add_typer(testbed.app, name="testbed")
    for plugin in discovery.plugins():
        for name, command in plugin.of_kind("command").items():
            app.add_typer(_loaded(name, command), name=name, help=command.help)
    return finish(typer.main.get_command(app))  # type: ignore[no-any-return]


def _loaded(name: str, command: discovery.Command) -> typer.Typer:
    """A plugin's sub-commands; if their module is broken, one that tells why."""
    module, _, attribute = command.target.partition(":")
    try:
        loaded: typer.Typer = getattr(import_module(module), attribute)
    except Exception as cause:  # noqa: BLE001 -- whatever a foreign module raises is its cause
        return _broken(name, f"{type(cause).__name__}: {cause}")
    return loaded


def _broken(name: str, cause: str) -> typer.Typer:
    app = typer.Typer(invoke_without_command=True)

    @app.callback()
    def fail() -> None:
        raise PluginError(f"the commands of '{name}' cannot be loaded: {cause}")

    return app


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
