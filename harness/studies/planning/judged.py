"""Which tasks ask a judge: read from their YAML, only what it names as a class is imported."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from harness.host import discovery, task_files
from harness.host.task_files import TaskFile


@cache
def asks_judge(task: str, include_path: str | None = None) -> bool:
    """Whether a task, or one of a group or tag, is judged by the model that a run names.

    Args:
        task: lm-eval's name of it, or a YAML file.
        include_path: A folder of task YAMLs besides those of plugins.
    """
    return _asks(task, _files(include_path), frozenset())


@cache
def _files(include_path: str | None) -> dict[str, list[TaskFile]]:
    """Task files by name and by tag; of lm-eval's own tasks none is judged."""
    folders = [folder for plugin in discovery.plugins() for folder in plugin.folders]
    folders += [Path(include_path)] if include_path else []
    found: dict[str, list[TaskFile]] = {}
    for folder in folders:
        for file in task_files.task_files(folder):
            for name in {file.name, *file.tags} - {None}:
                found.setdefault(str(name), []).append(file)
    return found


def _asks(task: str, files: dict[str, list[TaskFile]], above: frozenset[str]) -> bool:
    if task.endswith(".yaml") and Path(task).is_file():
        here = [task_files.read(Path(task))]
    else:
        here = files.get(task, [])
    return any(
        _is_judged(file)
        or any(_asks(m, files, above | {task}) for m in file.members if m not in above)
        for file in here
    )


def _is_judged(file: TaskFile) -> bool:
    if file.task_class is None:
        return False
    from harness.judging.judged_task import JudgedTask

    module, _, name = file.task_class.text.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except Exception:  # noqa: BLE001 -- lm-eval tells of it, with its cause, when the task is run
        return False
    return isinstance(kind, type) and issubclass(kind, JudgedTask)
