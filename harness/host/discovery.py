"""The host: finds plugins and keeps who owns which name; ``joining`` hands it all to lm-eval.

A plugin that cannot be loaded never takes lm-eval down. It is kept with its cause; `harness
plugins` shows it, and only a run that asks for a name nobody provides fails, with that cause.
"""

from __future__ import annotations

import functools
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from harness.errors import PluginError, one_line
from harness.host import builtin, hookspecs
from harness.host.task_files import task_files

GROUP = "paperharness"
_COMPOSING = "harness.models.composing"
KINDS = ("model", "engine", "task", "filter", "metric", "aggregation", "command")


@dataclass
class Plugin:
    """One plugin and what it brings; ``names`` maps (kind, name) to target or description.

    Attributes:
        parts: Parts of models, by lm-eval's model and name.
        places: Where the plugin's code named each of them, ``file:line``.
        error: Why the plugin is broken, one line.
        traceback: The traceback of that, if it was an exception of the plugin's.
        refused: Whether it is broken because a name of its is lm-eval's.
    """

    name: str
    distribution: str
    version: str
    names: dict[tuple[str, str], Any] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    error: str | None = None
    traceback: str = ""
    refused: bool = False

    def __str__(self) -> str:
        return f"'{self.name}' ({self.distribution} {self.version})"

    def of_kind(self, kind: str) -> dict[str, Any]:
        """What the plugin brings of one kind, by name."""
        return {name: target for (k, name), target in self.names.items() if k == kind}

    def fail(self, cause: object) -> None:
        """Mark the plugin as broken and withdraw what it had named."""
        self.error = one_line(cause)
        self.names.clear()
        self.parts.clear()
        self.folders.clear()

    def refuse(self, kind: str, name: str, owner: str) -> None:
        """Mark the plugin as broken because a name of its is lm-eval's."""
        place = self.places.get((kind, name))
        self.refused = True
        self.fail(
            f"{kind} '{name}' is {owner} and is named by {self} too; rename it"
            + (f" ({place})" if place else "")
        )


@dataclass(frozen=True)
class Metric:
    """A per-document metric, with how its values are aggregated."""

    target: str
    aggregation: str
    higher_is_better: bool


@dataclass(frozen=True)
class Part:
    """A part of a model, for one of lm-eval's models, and what it does (``hookspecs.STAGES``)."""

    target: str
    stage: str


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

    def _claim(self, kind: str, name: str, target: object, place: str | None = None) -> None:
        owner = self._owners.get((kind, name))
        if owner is None and (kind, name) in self._plugin.names:
            owner = self._plugin
        if owner is not None:
            raise PluginError(
                f"{kind} '{name}' is registered by both {owner} and {self._plugin}; "
                "uninstall one of the two or rename it"
            )
        self._plugin.names[kind, name] = target
        self._plugin.places[kind, name] = place or _caller()

    def model(self, name: str, target: str) -> None:
        self._claim("model", name, _checked(target))

    def wrapper(
        self, name: str, *, stage: str, hf: str | None = None, vllm: str | None = None
    ) -> None:
        if stage not in hookspecs.STAGES:
            raise PluginError(f"stage '{stage}' is not one of {', '.join(hookspecs.STAGES)}")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
            raise PluginError(f"part '{name}': give lower-case words, joined by hyphens")
        given = {"hf": hf, "vllm": vllm}
        if not any(given.values()):
            raise PluginError(f"part '{name}' is for no model: give hf= or vllm=")
        for backend, target in given.items():
            if target:
                made = f"{_COMPOSING}:{backend}_{name.replace('-', '_')}"
                self._claim("model", f"{backend}-{name}", made)
                self._plugin.parts[backend, name] = Part(_checked(target), stage)

    def engine(self, name: str, target: str) -> None:
        self._claim("engine", name, _checked(target))

    def tasks(self, folder: Path) -> None:
        files = [file for file in task_files(folder) if file.name]
        for file in files:
            self._claim("task", str(file.name), file.path, file.place)
        for file in files:
            for tag in file.tags:
                if ("task", tag) not in self._plugin.names:
                    self._claim("task", tag, file.path, str(file.path))
        self._plugin.folders.append(Path(folder))

    def filter(self, name: str, target: str) -> None:
        self._claim("filter", name, _checked(target))

    def metric(self, name: str, target: str, *, aggregation: str, higher_is_better: bool) -> None:
        self._claim("metric", name, Metric(_checked(target), aggregation, higher_is_better))

    def aggregation(self, name: str, target: str) -> None:
        self._claim("aggregation", name, _checked(target))

    def commands(self, name: str, target: str, *, help: str) -> None:
        self._claim("command", name, Command(_checked(target), help))


def _caller() -> str:
    """Where the plugin's code called the registrar."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _checked(target: str) -> str:
    if not re.fullmatch(r"[\w.]+:\w+", target):
        raise PluginError(f"target {target!r} is not of the form 'package.module:attribute'")
    return target


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
            _explain(plugin, cause, entry.module)
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
        _explain(plugin, cause, str(getattr(module, "__name__", type(module).__module__)))
        if manager.is_registered(module):
            manager.unregister(module)


def _explain(plugin: Plugin, cause: Exception, module: str) -> None:
    """Mark a plugin as broken by an exception, with the line of its own code that raised it."""
    text = str(cause) if isinstance(cause, PluginError) else f"{type(cause).__name__}: {cause}"
    place = place_of(cause, module)
    plugin.fail(f"{text} ({place})" if place else text)
    plugin.traceback = "".join(traceback.format_exception(cause))


def place_of(cause: BaseException, module: str) -> str | None:
    """The last line, ``file:line``, that an exception passed in a module or its package.

    For a ``SyntaxError`` it is where the error stands.
    """
    if isinstance(cause, SyntaxError) and cause.filename:
        return f"{cause.filename}:{cause.lineno}"
    package = module.partition(".")[0]
    found = getattr(sys.modules.get(module), "__file__", None)
    for frame, line in traceback.walk_tb(cause.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def wrappers(backend: str) -> dict[str, Part]:
    """Parts of models, by name.

    Args:
        backend: lm-eval's model, ``hf`` or ``vllm``.
    """
    return {
        name: part
        for plugin in plugins()
        for (own, name), part in plugin.parts.items()
        if own == backend
    }


def broken() -> list[Plugin]:
    """Plugins that could not be loaded."""
    return [p for p in plugins() if p.error]


def entry_points_of(kind: str, distribution: str) -> dict[str, str]:
    """What a distribution's ``[project.entry-points."lm_eval.<kind>s"]`` should say.

    A newer lm-eval reads these groups itself (kinds: model, filter, metric, aggregation).
    """
    return {
        name: target if isinstance(target, str) else str(target.target)
        for plugin in plugins()
        if plugin.distribution == distribution
        for name, target in plugin.of_kind(kind).items()
    }
