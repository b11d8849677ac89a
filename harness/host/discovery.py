"""The host: finds plugins and keeps who owns which name; ``joining`` hands it all to lm-eval.

A plugin that cannot be loaded never takes lm-eval down. It is kept with its cause; `harness
plugins` shows it, and only a run that asks for a name nobody provides fails, with that cause.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy
import yaml

from harness.errors import PluginError
from harness.host import builtin, hookspecs

GROUP = "paperharness"
KINDS = ("model", "task", "filter", "metric", "aggregation", "command")


@dataclass
class Plugin:
    """One plugin and what it brings; ``names`` maps (kind, name) to target or description."""

    name: str
    distribution: str
    version: str
    names: dict[tuple[str, str], Any] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    error: str | None = None

    def of_kind(self, kind: str) -> dict[str, Any]:
        """What the plugin brings of one kind, by name."""
        return {name: target for (k, name), target in self.names.items() if k == kind}

    def fail(self, cause: object) -> None:
        """Mark the plugin as broken and withdraw what it had named."""
        self.error = " ".join(str(cause).split())
        self.names.clear()
        self.folders.clear()


@dataclass(frozen=True)
class Metric:
    """A per-document metric, with how its values are aggregated."""

    target: str
    aggregation: str
    higher_is_better: bool


@dataclass(frozen=True)
class Command:
    """A ``typer.Typer`` of sub-commands, imported when it is called."""

    target: str
    help: str


class PluginRegistrar:
    """The ``Registrar`` handed to one plugin; refuses names that already have an owner."""

    def __init__(self, plugin: Plugin, owners: Mapping[tuple[str, str], Plugin]) -> None:
        self._plugin = plugin
        self._owners = owners

    def _claim(self, kind: str, name: str, target: object) -> None:
        owner = self._owners.get((kind, name))
        if owner is None and (kind, name) in self._plugin.names:
            owner = self._plugin
        if owner is not None:
            raise PluginError(
                f"{kind} '{name}' is registered by both '{owner.name}' ({owner.distribution} "
                f"{owner.version}) and '{self._plugin.name}' ({self._plugin.distribution} "
                f"{self._plugin.version}); uninstall one of the two or rename it"
            )
        self._plugin.names[kind, name] = target

    def model(self, name: str, target: str) -> None:
        self._claim("model", name, _checked(target))

    def tasks(self, folder: Path) -> None:
        for name, path in task_names(folder):
            self._claim("task", name, path)
        self._plugin.folders.append(Path(folder))

    def filter(self, name: str, target: str) -> None:
        self._claim("filter", name, _checked(target))

    def metric(self, name: str, target: str, *, aggregation: str, higher_is_better: bool) -> None:
        self._claim("metric", name, Metric(_checked(target), aggregation, higher_is_better))

    def aggregation(self, name: str, target: str) -> None:
        self._claim("aggregation", name, _checked(target))

    def commands(self, name: str, target: str, *, help: str) -> None:
        self._claim("command", name, Command(_checked(target), help))


def _checked(target: str) -> str:
    if not re.fullmatch(r"[\w.]+:[\w.]+", target):
        raise PluginError(f"target {target!r} is not of the form 'package.module:attribute'")
    return target


class _NamesOnly(yaml.SafeLoader):
    """Reads a task YAML for its name; ``!function`` and other tags stay unresolved."""


_NamesOnly.add_multi_constructor("!", lambda loader, suffix, node: None)


def task_names(folder: Path) -> Iterator[tuple[str, Path]]:
    """Task and group names in a folder of YAMLs, with their files.

    lm-eval skips a YAML it cannot read without a word; here it is an error.

    Raises:
        PluginError: The folder does not exist, or a file in it is no YAML mapping.
    """
    if not Path(folder).is_dir():
        raise PluginError(f"task folder {folder} does not exist")
    for path in sorted(Path(folder).rglob("*.yaml")):
        try:
            config = yaml.load(path.read_text(encoding="utf-8"), Loader=_NamesOnly)  # noqa: S506 -- a SafeLoader
        except yaml.YAMLError as cause:
            raise PluginError(f"task file {path} is not valid YAML: {cause}") from cause
        if not isinstance(config, dict):
            raise PluginError(f"task file {path} is not a YAML mapping")
        name = config.get("group") or config.get("task")
        if isinstance(name, str):
            yield name, path


def task_folder(paper: str) -> Path:
    """Where the task YAMLs of an in-tree plugin lie, in a wheel and in a checkout alike."""
    package = Path(__file__).parent
    shipped = package / "task_yamls"
    return (shipped if shipped.is_dir() else package.parent / "task_yamls") / paper


@functools.cache
def plugins() -> tuple[Plugin, ...]:
    """Every plugin found, in the order loaded: the host's own, then entry points by name."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    own = Plugin("harness", "paperharness", _version("paperharness"))
    found = [own]
    _load(manager, own, builtin, {})
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        dist = entry.dist
        plugin = Plugin(
            entry.name, dist.name if dist else "unknown", dist.version if dist else "unknown"
        )
        owners = {key: p for p in found for key in p.names}
        try:
            module = entry.load()
        except Exception as cause:  # noqa: BLE001 -- whatever a foreign module raises is its cause
            plugin.fail(f"{type(cause).__name__}: {cause}")
        else:
            _load(manager, plugin, module, owners)
        found.append(plugin)
    return tuple(found)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        from harness._version import __version__

        return __version__


def _load(
    manager: pluggy.PluginManager,
    plugin: Plugin,
    module: object,
    owners: Mapping[tuple[str, str], Plugin],
) -> None:
    """Register one module with pluggy and let it name what it brings."""
    try:
        manager.register(module, plugin.name)
        manager.check_pending()
        others = [p for p in manager.get_plugins() if p is not module]
        manager.subset_hook_caller("register", others)(registrar=PluginRegistrar(plugin, owners))
        if not plugin.names:
            raise PluginError(
                "registers nothing: mark a function register(registrar) with @harness.hookimpl"
            )
    except Exception as cause:  # noqa: BLE001 -- whatever a foreign plugin raises is its cause
        text = str(cause) if isinstance(cause, PluginError) else f"{type(cause).__name__}: {cause}"
        plugin.fail(text)
        if manager.is_registered(module):
            manager.unregister(module)


def broken() -> list[Plugin]:
    """Plugins that could not be loaded."""
    return [p for p in plugins() if p.error]
