"""The reference of tasks and metrics: what plugins register, as their YAMLs say it."""

from __future__ import annotations

import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from harness.host import discovery
from harness.host.task_files import task_files
from tools.docs import places
from tools.docs.tables import code, page, table

_TASKS = (
    "Tasks that plugins bring to `lm_eval --tasks`. Each is run by any model of lm-eval, with "
    "the data that `--metadata data=hub|testbed|FOLDER` names "
    "([which data](../running.md#which-data)); other keys "
    "are among the [options of a run](options.md). A group runs its tasks and has "
    "their mean, where there is one. The headline is the metric that `harness leaderboard` ranks "
    "by, chance is what a guess scores."
)
_METRICS = (
    "What the plugins' tasks measure. `<metric>_ci95` beside a metric is its 95 % interval, "
    "`<metric>_stderr` its standard error. How each is defined stands on the paper's page; the "
    "functions behind them are below, pure ones on plain values."
)

_OPTIONS = "{heading_level: 3, show_root_full_path: true, show_bases: false}"


class _Loader(yaml.SafeLoader):
    """Keeps ``!function`` as the name of the function."""


_Loader.add_constructor("!function", lambda loader, node: node.value)


@dataclass(frozen=True)
class Task:
    """A task or a group, with what its file and those that it includes say."""

    name: str
    owner: str
    text: str
    values: dict[str, Any]
    members: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """What it says of itself."""
        return dict(self.values.get("metadata") or {})

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Its metrics, intervals left out."""
        found = self.values.get("metric_list") or self.values.get("aggregate_metric_list") or []
        return [m for m in found if not str(m["metric"]).endswith("_ci95")]


def tasks() -> Iterator[Task]:
    """Tasks and groups of all plugins, by plugin and name."""
    for plugin in discovery.plugins():
        for folder in plugin.folders:
            for file in task_files(folder):
                if file.name:
                    values, text = _read(file.path), _text(file.path)
                    yield Task(file.name, plugin.name, text, values, file.members)


def tasks_page() -> str:
    """The page of all tasks."""
    found = list(tasks())
    inner = {name for task in found for name in task.members}
    groups = {task.name for task in found if task.members}
    parts = []
    for owner in dict.fromkeys(task.owner for task in found):
        shown = [t for t in found if t.owner == owner and (t.name not in inner or _own(t, found))]
        parts.append(f"## {_title(owner)}")
        parts += [_task(task, groups) for task in shown]
    return page("Tasks", _TASKS, *parts)


def metrics_page() -> str:
    """The page of all metrics."""
    parts = []
    by_owner: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
    better: dict[tuple[str, str], bool] = {}
    for task in tasks():
        for metric in task.metrics:
            name = str(metric["metric"])
            by_owner[task.owner][name].append(task)
            better[task.owner, name] = metric.get("higher_is_better", True)
    for owner, metrics in by_owner.items():
        rows = []
        for name, of in metrics.items():
            names = _folded([task.name for task in of])
            headline = any(task.metadata.get("headline") == name for task in of)
            arrow = "higher" if better[owner, name] else "lower"
            rows.append((f"**{code(name)}**" if headline else code(name), arrow, names))
        parts += [f"## {_title(owner)}", table(["metric", "better", "of"], rows)]
        if owner in places.papers():
            parts.append(f"[How they are defined](../papers/{owner}.md)")
            parts += [f"::: {module}\n    options: {_OPTIONS}" for module in _modules(owner)]
    return page("Metrics", _METRICS, *parts)


def _modules(owner: str) -> list[str]:
    """Modules of a plugin's metrics."""
    package = import_module(f"harness_{owner}.metrics")
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [module.name for module in found]


def _own(task: Task, found: list[Task]) -> bool:
    """Whether a member of a group has something of its own to say."""
    return bool(task.text) and not any(
        task.name in other.members and len(other.members) > 5 for other in found
    )


def _task(task: Task, groups: set[str]) -> str:
    rows = []
    if task.members:
        rows.append(("tasks", ", ".join(code(name) for name in task.members)))
    for key in ("headline", "chance", "version"):
        if key in task.metadata:
            rows.append((key, code(task.metadata[key])))
    if task.metrics:
        rows.append(("metrics", ", ".join(code(m["metric"]) for m in task.metrics)))
    if kind := task.values.get("output_type"):
        rows.append(("asks", "for a text" if kind == "generate_until" else f"for {kind}"))
    if data := task.values.get("custom_dataset"):
        rows.append(("rows from", code(data)))
    kind = " (a group)" if task.name in groups else ""
    return "\n\n".join([f"### {task.name}{kind}", task.text, table(["", ""], rows)])


def _title(owner: str) -> str:
    if owner not in places.papers():
        return "The testbed" if owner == "harness" else owner
    first = (places.ROOT / "plugins" / owner / "README.md").read_text(encoding="utf-8")
    return first.partition("\n")[0].removeprefix("# ")


def _folded(names: list[str]) -> str:
    """Names, of a long family the first and how many more."""
    whole = [name for name in names if not any(name.startswith(f"{n}_") for n in names)]
    rest = len(names) - len(whole)
    more = f", and {rest} of their parts" if rest else ""
    return ", ".join(code(name) for name in whole) + more


def _text(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    text = " ".join(lines)
    return re.sub(r"(--metadata \S+(?: '\{.*?\}')?|\b\w+=\S*[^\s;:,.)])", r"`\1`", text)


def _read(path: Path) -> dict[str, Any]:
    own: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 -- a SafeLoader
    includes = own.pop("include", [])
    found: dict[str, Any] = {}
    for include in [includes] if isinstance(includes, str) else includes:
        found |= _read(path.parent / include)
    return found | own
