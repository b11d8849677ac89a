"""The command tree: the host's commands, and each plugin's under its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness._version import __version__
from harness.cli import compare, demo, doctor, leaderboard, plugins, run, score, testbed, view
from harness.errors import PluginError
from harness.host import discovery
from harness.secrets import struck


class _Tree(TyperGroup):
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


def build() -> Callable[..., Any]:
    """The whole command tree, ready to be called."""
    app = typer.Typer(
        cls=_Tree, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    app.command("plugins")(plugins.plugins)
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("run")(run.run)
    app.command("score")(score.score)
    app.command("compare")(compare.compare)
    app.command("view")(view.view)
    app.add_typer(testbed.app, name="testbed")
    for plugin in discovery.plugins():
        for name, command in plugin.of_kind("command").items():
            app.add_typer(_loaded(name, command), name=name, help=command.help)
    return typer.main.get_command(app)


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
