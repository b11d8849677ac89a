"""Whether what plugins name is there and free: for ``harness plugins``, ``doctor`` and a run.

Sources are read, not imported; only what seems to be missing is imported, to be sure of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.errors import PluginError
from harness.host import definitions, lm_eval_seams, task_files
from harness.host import discovery as host
from harness.host.task_files import Mention, TaskFile

_TASK_MODULE = "lm_eval.api.task"


def refuse_lm_evals_names() -> None:
    """Mark plugins as broken that name something as lm-eval does.

    A run does the same where lm-eval builds its registries and its index of tasks.
    """
    for kind in ("model", "filter", "aggregation", "metric"):
        if any(plugin.of_kind(kind) for plugin in host.plugins()):
            refuse_registered(kind)
    mine = {name: p for p in host.plugins() for name in p.of_kind("task")}
    for name, path in lm_eval_seams.own_task_names(set(mine)).items():
        if mine[name].error is None:
            mine[name].refuse("task", name, lm_eval_seams.own(path))


def refuse_registered(kind: str) -> None:
    """Mark plugins as broken whose names of one kind stand for something else in lm-eval."""
    registry = lm_eval_seams.registry(kind)
    for plugin in host.plugins():
        for name, target in plugin.of_kind(kind).items():
            if name in registry and not plugin.error:
                refuse_taken(registry, kind, plugin, name, target_text(target))


def refuse_taken(registry: Any, kind: str, plugin: host.Plugin, name: str, target: str) -> bool:
    """Mark a plugin as broken if lm-eval's registry has something else under a name of its."""
    entry = lm_eval_seams.held(registry, name)
    if lm_eval_seams.same(entry, target) or lm_eval_seams.declared_by(entry, plugin.distribution):
        return False
    plugin.refuse(kind, name, lm_eval_seams.owner_of(entry))
    return True


def target_text(target: object) -> str:
    """What a model, filter, metric, aggregation or command stands for, "module:attribute"."""
    return target if isinstance(target, str) else str(getattr(target, "target", ""))


def faults(plugin: host.Plugin) -> list[str]:
    """What a plugin names and does not bring: targets, functions in its YAMLs, metrics."""
    found = [
        fault
        for (kind, name), target in plugin.names.items()
        if kind != "task" and (fault := _target_fault(plugin, kind, name, target_text(target)))
    ]
    found += [
        fault
        for (backend, name), part in plugin.parts.items()
        if (fault := _target_fault(plugin, "model", f"{backend}-{name}", part.target))
    ]
    found += [
        f"metric '{name}' ({plugin.places['metric', name]}): unknown aggregation "
        f"'{metric.aggregation}'"
        for name, metric in plugin.of_kind("metric").items()
        if not _known("aggregation", metric.aggregation)
    ]
    files = [file for folder in plugin.folders for file in task_files.task_files(folder)]
    return found + task_faults(files)


def _target_fault(plugin: host.Plugin, kind: str, name: str, target: str) -> str | None:
    module, _, attribute = target.partition(":")
    missing = _missing(module, attribute, lambda: getattr(import_module(module), attribute))
    place = plugin.places.get((kind, name), plugin.distribution)
    return f"{kind} '{name}' ({place}): {missing}" if missing else None


def task_faults(files: Iterable[TaskFile]) -> list[str]:
    """What task YAMLs name and nobody brings, each with file and line.

    A class that overrides ``process_results`` names metrics of its own, and so does a YAML that
    gives that function; elsewhere lm-eval looks each of them up.
    """
    found = [fault for file in files if file.name for fault in _faults_of(file)]
    return list(dict.fromkeys(found))  # files may share a fragment


def _faults_of(file: TaskFile) -> Iterator[str]:
    for function in file.functions:
        if missing := _function_fault(function):
            yield f"{function}: !function {function.text}: {missing}"
    if file.kind == "group":
        return
    for aggregation in file.aggregations:
        if not _known("aggregation", aggregation.text):
            yield f"{aggregation}: unknown aggregation '{aggregation.text}'"
    if file.metrics and not (file.own_metrics or _computes_metrics(file.task_class)):
        for metric in file.metrics:
            if not _known("metric", metric.text):
                yield (
                    f"{metric}: unknown metric '{metric.text}': neither lm-eval nor a plugin "
                    "brings it (for one of Hugging Face's evaluate say hf_evaluate: true)"
                )


def _function_fault(function: Mention) -> str | None:
    """Why ``!function`` leads nowhere: a file beside the YAML is looked at first, as in lm-eval."""
    module, _, name = function.text.rpartition(".")
    if not module:
        return "it is not of the form module.function"
    folder = function.path.resolve().parent
    beside = folder / f"{module.replace('.', '/')}.py"

    def load() -> object:
        return lm_eval_seams.yaml_function(function.text, folder)

    if beside.is_file():
        return _lacks(beside, str(beside), name, load)
    return _missing(module, name, load)


def _missing(module: str, name: str, load: Callable[[], object]) -> str | None:
    try:
        spec = definitions.find(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"there is no module '{module}'"
    source = definitions.source_of(spec)
    return _lacks(source, module, name, load) if source else None


def _lacks(source: Path, module: str, name: str, load: Callable[[], object]) -> str | None:
    if not definitions.lacks(source, name):
        return None
    try:
        load()
    except AttributeError:
        return f"'{module}' has no '{name}'"
    except Exception as cause:  # noqa: BLE001 -- whatever a foreign module raises is its cause
        place = host.place_of(cause, module)
        return f"{type(cause).__name__}: {cause}" + (f" ({place})" if place else "")
    return None


def _computes_metrics(task_class: Mention | None) -> bool:
    if task_class is None:
        return False
    module, _, name = task_class.text.rpartition(".")
    return definitions.overrides(module, name, "process_results", _TASK_MODULE)


def why_not_loaded(plugin: host.Plugin, model: str, cause: BaseException) -> str:
    """One line on a model of a plugin that cannot be imported."""
    target = plugin.names["model", model]
    place = host.place_of(cause, target.partition(":")[0])
    return (
        f"model '{model}' of {plugin} cannot be loaded from '{target}': "
        f"{type(cause).__name__}: {cause}" + (f" ({place})" if place else "") + f"; it is named "
        f"at {plugin.places['model', model]}"
    )


def _known(kind: str, name: str) -> bool:
    ours = any(name in plugin.of_kind(kind) for plugin in host.plugins())
    return ours or name in lm_eval_seams.registry(kind)


def check_asked(names: Iterable[str], tagged: Callable[[str], Iterable[str]]) -> None:
    """Check the tasks of plugins that a run asks for, before anything is loaded.

    Args:
        names: Tasks, groups and tags.
        tagged: Names of the tasks that carry a tag.

    Raises:
        PluginError: One of them names a function, metric or aggregation that is not there.
    """
    owners = {name: p for p in host.plugins() for name in p.of_kind("task")}
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in owners:
            continue
        seen.add(name)
        file = task_files.read(owners[name].names["task", name])
        if file.name != name:
            waiting += tagged(name)
            continue
        waiting += file.members
        if found := task_faults([file]):
            raise PluginError(f"task '{name}' of {owners[name]} is faulty: {'; '.join(found)}")
