"""Task YAMLs as lm-eval reads them, with the line on which each thing stands.

``!function`` stays unresolved; ``include`` is followed. lm-eval skips a YAML it cannot read without
a word; here it is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import PluginError

_NOT_INHERITED = "task_list"
_FUNCTION = "!function"


@dataclass(frozen=True)
class Mention:
    """A name in a YAML file: a task, a function, a metric or an aggregation."""

    text: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class TaskFile:
    """What one YAML defines; a fragment that others include has no name.

    Attributes:
        place: Where the name stands, ``file:line``.
        kind: ``class`` (a Python task), ``group`` or ``task``.
        members: Tasks and groups a group consists of.
        metrics: Names in its ``metric_list`` that lm-eval would look up, unless the task computes
            its metrics itself.
        own_metrics: Whether it names a ``process_results``.
    """

    path: Path
    name: str | None
    place: str
    kind: str
    tags: tuple[str, ...]
    members: tuple[str, ...]
    functions: tuple[Mention, ...]
    task_class: Mention | None
    metrics: tuple[Mention, ...]
    aggregations: tuple[Mention, ...]
    own_metrics: bool


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Leaves ``!function`` unresolved, as lm-eval's index does; other tags are errors there too."""


_Loader.add_constructor(_FUNCTION, lambda loader, node: None)


@dataclass(frozen=True)
class _Part:
    """One file of a task: its values and, for their lines, its nodes."""

    path: Path
    values: dict[str, Any]
    nodes: dict[str, yaml.Node]
    functions: tuple[Mention, ...]


def task_files(folder: Path) -> list[TaskFile]:
    """Every YAML in a folder, recursively.

    Raises:
        PluginError: The folder does not exist, or a file in it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PluginError(f"task folder {folder} does not exist")
    return [read(path) for path in sorted(folder.rglob("*.yaml"))]


def read(path: Path) -> TaskFile:
    """Read one task YAML and what it includes.

    Raises:
        PluginError: It, or a file it includes, does not exist or is no YAML mapping.
    """
    parts = list(_with_includes(path, ()))
    values: dict[str, Any] = {}
    home: dict[str, _Part] = {}
    for part in parts:
        own = part is parts[-1]
        given = {k: v for k, v in part.values.items() if own or k != _NOT_INHERITED}
        values |= given
        home |= dict.fromkeys(given, part)
    kind = next((k for k in ("class", "group", "task") if k in values), "")
    named = "group" if kind == "group" else "task"
    name = values.get(named)
    metrics, aggregations = _metrics(home.get("metric_list"))
    return TaskFile(
        path=path,
        name=name if isinstance(name, str) else None,
        place=_place(home.get(named), named, path),
        kind=kind,
        tags=tuple(_strings(values.get("tag"))),
        members=tuple(_members(values.get("task"))) if kind == "group" else (),
        functions=tuple(f for part in parts for f in part.functions),
        task_class=_function_at(home.get("class"), "class"),
        metrics=tuple(metrics),
        aggregations=tuple(aggregations),
        own_metrics="process_results" in values,
    )


def _with_includes(path: Path, above: tuple[Path, ...]) -> Iterator[_Part]:
    """The files a YAML includes, in lm-eval's order of precedence, and last itself."""
    if path in above:
        raise PluginError(f"task file {path} includes itself through {above[-1]}")
    part = _part(path, _changed(path, above))
    for include in _strings(part.values.get("include")):
        yield from _with_includes((path.parent / include).resolve(), (*above, path))
    yield part


def _changed(path: Path, above: tuple[Path, ...]) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        raise PluginError(
            f"task file {above[-1] if above else path} includes {path}, which does not exist"
        ) from None


@functools.lru_cache(maxsize=1024)
def _part(path: Path, changed: int) -> _Part:
    try:
        loader = _Loader(path.read_bytes())
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError) as cause:  # ValueError: a date that is none, say
        raise PluginError(f"task file {path} is not valid YAML: {cause}") from cause
    if not isinstance(values, dict):
        raise PluginError(f"task file {path} is not a YAML mapping")
    nodes = {key.value: value for key, value in node.value}
    functions = tuple(_mention(n, path) for n in _scalars(node) if n.tag == _FUNCTION)
    return _Part(path, values, nodes, functions)


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)


def _mention(node: yaml.Node, path: Path) -> Mention:
    return Mention(str(node.value), path, node.start_mark.line + 1)


def _function_at(part: _Part | None, key: str) -> Mention | None:
    node = part.nodes.get(key) if part else None
    return _mention(node, part.path) if part and node and node.tag == _FUNCTION else None


def _place(part: _Part | None, key: str, path: Path) -> str:
    return str(_mention(part.nodes[key], part.path) if part and key in part.nodes else path)


def _metrics(part: _Part | None) -> tuple[list[Mention], list[Mention]]:
    """Metrics and aggregations that a ``metric_list`` gives by name."""
    listed = part.nodes.get("metric_list") if part else None
    metrics: list[Mention] = []
    aggregations: list[Mention] = []
    if part is None or not isinstance(listed, yaml.SequenceNode):
        return metrics, aggregations
    for entry in listed.value:
        if not isinstance(entry, yaml.MappingNode):
            continue
        given = {key.value: value for key, value in entry.value}
        names = {key: v for key, v in given.items() if isinstance(v, yaml.ScalarNode)}
        hub = "hf_evaluate" in names and names["hf_evaluate"].value.lower() == "true"
        for key, into in (("metric", metrics), ("aggregation", aggregations)):
            if key in names and names[key].tag != _FUNCTION and not (hub and key == "metric"):
                into.append(_mention(names[key], part.path))
    return metrics, aggregations


def _strings(value: object) -> Iterator[str]:
    yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))


def _members(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield from _strings(item.get("group"))
            yield from _members(item.get("task"))
        elif isinstance(item, str):
            yield item


def task_folder(paper: str) -> Path:
    """Where the task YAMLs of an in-tree plugin lie, in a wheel and in a checkout alike."""
    package = Path(__file__).parents[1]
    shipped = package / "task_yamls"
    return (shipped if shipped.is_dir() else package.parent / "task_yamls") / paper
