"""Whether lm-eval knows the models and tasks of a study, told before hours of other work.

Only what is certain is refused: what this says is missing, lm-eval would not find either.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import harness._autoload  # noqa: F401 -- plugins join lm-eval here as under the stock command
from harness.artefacts.yaml_files import Place
from harness.errors import HarnessError
from harness.host import discovery
from harness.host import lm_eval_seams as seams
from harness.host.arguments import PATHS
from harness.models.composing import ordered_parts
from harness.studies.reading.file import Study
from harness.studies.reading.settings import misnamed

_NEAR = 0.85
_FOLDERS = {"pretrained", "tokenizer", "peft"}


def check_names(study: Study) -> None:
    """Refuse a model or task that neither lm-eval nor a plugin has.

    Raises:
        StudyError: There is no such model or task.
    """
    for place, settings in [
        (("defaults",), study.defaults),
        *((run.place, run.settings) for run in study.runs),
        *((task.place, task.settings) for task in study.tasks),
    ]:
        if (model := settings.get("model")) is not None and not discovery.broken():
            _check_model(study, model, (*place, "model"))
        _check_places(study, settings.get("model_args") or {}, (*place, "model_args"))
    own = {name for plugin in discovery.plugins() for name in plugin.of_kind("task")}
    for task in study.tasks:
        layers = [study.defaults, task.settings, *(run.settings for run in study.runs)]
        if task.task.endswith(".yaml"):
            if not Path(task.task).is_file():
                raise study.wrong(task.place, f"there is no file {task.task}")
        elif task.task not in own and not any("include_path" in one for one in layers):
            _check_task(study, task.task, (*task.place, "task"))


def _check_model(study: Study, model: str, place: Place) -> None:
    """Refuse a model that is not there, or parts of which cannot meet."""
    models = _models()
    if model.partition("+")[0] not in models:
        raise study.wrong(place, misnamed(model, sorted(models), "model"))
    if "+" in model:
        try:
            ordered_parts(model)
        except HarnessError as wrong:
            raise study.wrong(place, str(wrong)) from wrong


def _check_places(study: Study, arguments: Mapping[str, Any], place: Place) -> None:
    """Refuse a folder of lm-eval's own arguments that is not there, and that nothing will make."""
    for key in _FOLDERS & arguments.keys():
        values = arguments[key] if isinstance(arguments[key], list) else [arguments[key]]
        for value in values:
            if not isinstance(value, str) or not value.startswith(PATHS) or "{" in value:
                continue
            if not Path(value).expanduser().exists():
                raise study.wrong((*place, key), f"{key}: there is no {value}")


@cache
def _models() -> frozenset[str]:
    return frozenset(dict(seams.registry("model").items()))


def _check_task(study: Study, name: str, place: Place) -> None:
    """Refuse a name that lm-eval's index of tasks, which takes seconds to make, would not have."""
    named = {file.stem for file in _files()} | {file.parent.name for file in _files()}
    if any(mark in name for mark in "*?[:,") or name in named:
        return
    if any(name.encode() in file.read_bytes() for file in _files()):
        from lm_eval.tasks import TaskManager

        if name in seams.task_names(TaskManager()):
            return
    own = {task for plugin in discovery.plugins() for task in plugin.of_kind("task")}
    near = get_close_matches(name, own | named, n=1, cutoff=_NEAR)
    rest = f"did you mean {near[0]}?" if near else "`lm_eval ls tasks` lists those that there are"
    raise study.wrong(place, f"no task is called '{name}'; {rest}")


@cache
def _files() -> tuple[Path, ...]:
    """The YAML files of lm-eval, which most tasks and groups are called like."""
    import lm_eval

    return tuple((Path(str(lm_eval.__file__)).parent / "tasks").rglob("*.yaml"))
