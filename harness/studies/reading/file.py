"""A study's file: artefacts to make, runs, tasks, and what is compared.

    study: steering
    defaults: {device: cpu, metadata: {data: testbed}}
    make:
      vectors: {command: axbench train, model: "testbed:teacher", layer: 2, methods: [diffmean]}
    runs:
      - {name: plain, model: hf, model_args: {pretrained: "testbed:teacher"}}
      - {name: steered, model: hf-steered, model_args: {steering: "{vectors}", method: [diffmean]}}
    tasks: [axbench_steer, {task: hellaswag, limit: 200}]
    compare: {baseline: plain}

What is wrong in it is one line that begins with ``FILE:LINE``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.artefacts.yaml_files import Lines, Place, read_yaml_lines
from harness.errors import one_line
from harness.studies.reading.settings import StudyError, check_values, checked, misnamed

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
"""What names of runs, artefacts and entries of the tasks look like."""
_LONGEST = 60  # characters of a name, a part of a file's


@dataclass(frozen=True)
class Made:
    """An artefact: a ``harness`` command and its options.

    Args:
        name: Its name.
        command: The command's words without ``harness``.
        options: Its options by name.
        place: Where it stands in the file.
    """

    name: str
    command: tuple[str, ...]
    options: Mapping[str, Any]
    place: Place


@dataclass(frozen=True)
class Run:
    """A model with its settings; a list among its ``model_args`` makes several of it.

    Args:
        name: Its name.
        settings: lm-eval's.
        tasks: Names of the tasks that it runs; None for all.
        place: Where it stands in the file.
    """

    name: str
    settings: Mapping[str, Any]
    tasks: tuple[str, ...] | None
    place: Place


@dataclass(frozen=True)
class Task:
    """An entry of the tasks.

    Args:
        name: How the study calls it.
        task: lm-eval's name of the task, group or tag, or a YAML file.
        settings: lm-eval's.
        place: Where it stands in the file.
    """

    name: str
    task: str
    settings: Mapping[str, Any]
    place: Place


@dataclass(frozen=True)
class Study:
    """A study's file, checked.

    Args:
        name: Its name.
        out: Where all that it makes is.
        defaults: lm-eval's settings of every run.
        make: The artefacts.
        runs: The runs.
        tasks: The tasks.
        baseline: The run that others are compared with.
        gain: The task that methods are to be better at.
        retained: The tasks that they should not become worse at.
        document: The file's value as it is written.
        lines: Where everything stands in it.
    """

    name: str
    out: Path
    defaults: Mapping[str, Any]
    make: Sequence[Made]
    runs: Sequence[Run]
    tasks: Sequence[Task]
    baseline: str | None
    gain: str | None
    retained: Sequence[str]
    document: Mapping[str, Any]
    lines: Lines

    def wrong(self, place: Place, said: str) -> StudyError:
        """The error for what is wrong at a place of the file."""
        return StudyError(f"{self.lines.where(place)}: {said}")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Compare(_Part):
    baseline: str


class _Tradeoff(_Part):
    gain: str
    retained: list[str] = Field(min_length=1)


_PARTS: dict[str, type[BaseModel]] = {"compare": _Compare, "tradeoff": _Tradeoff}


class _Document(_Part):
    study: str
    out: str | None = None
    defaults: dict[str, Any] = Field({})
    make: dict[str, dict[str, Any]] = Field({})
    runs: list[dict[str, Any]] = Field(min_length=1)
    tasks: list[Any] = Field(min_length=1)
    compare: _Compare | None = None
    tradeoff: _Tradeoff | None = None


def read_study(path: Path, out: Path | None = None) -> Study:
    """Read a study's file.

    Args:
        path: The file.
        out: The folder for all that is made; by default as the file says.

    Raises:
        StudyError: It cannot be read, or something in it is wrong.
    """
    value, lines = read_yaml_lines(path, StudyError)
    document = _document(value, lines)
    check_values(value, lines)
    _check_name(document.study, lines, ("study",), "the study")
    study = Study(
        name=document.study,
        out=(out or Path(document.out or f"studies/{document.study}")).absolute(),
        defaults=checked(document.defaults, lines, ("defaults",)),
        make=[_made(name, given, lines) for name, given in document.make.items()],
        runs=[_run(index, given, lines) for index, given in enumerate(document.runs)],
        tasks=[_task(index, given, lines) for index, given in enumerate(document.tasks)],
        baseline=document.compare.baseline if document.compare else None,
        gain=document.tradeoff.gain if document.tradeoff else None,
        retained=document.tradeoff.retained if document.tradeoff else (),
        document=value,
        lines=lines,
    )
    _check_names(study)
    return study


def _document(value: Any, lines: Lines) -> _Document:
    if not isinstance(value, dict):
        raise StudyError(f"{lines.where(())}: no study: give study:, runs: and tasks:")
    try:
        return _Document.model_validate(value)
    except ValidationError as cause:
        found = cause.errors(include_url=False)
        wrong = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        *above, name = wrong["loc"]
        here = lines.where(tuple(wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            fields = (_PARTS[str(above[0])] if above else _Document).model_fields
            said = misnamed(name, list(fields), "key")
            raise StudyError(f"{here}: {said}") from cause
        if wrong["type"] == "missing":
            within = f" in {above[0]}" if above else ""
            raise StudyError(f"{here}: '{name}' is missing{within}") from cause
        where = ".".join(map(str, wrong["loc"]))
        raise StudyError(f"{here}: {where}: {one_line(wrong['msg'], 200)}") from cause


def _check_name(name: str, lines: Lines, place: Place, what: str) -> None:
    if not re.fullmatch(NAME, name) or len(name) > _LONGEST:
        raise StudyError(
            f"{lines.where(place)}: {what} is called '{one_line(name, _LONGEST)}': names here have "
            f"at most {_LONGEST} letters, digits and . _ + -, and begin with a letter or digit"
        )


def _text(given: Mapping[str, Any], key: str, lines: Lines, place: Place, example: str) -> str:
    """A text that a mapping must have."""
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{lines.where((*place, key))}: give {key}: {example}")
    return value


def _made(name: str, given: Mapping[str, Any], lines: Lines) -> Made:
    place: Place = ("make", name)
    _check_name(name, lines, place, "an artefact")
    command = _text(given, "command", lines, place, "the words of a harness command: axbench train")
    if "out" in given:
        raise StudyError(
            f"{lines.where((*place, 'out'))}: 'out' is not for a study's file: the artefact has a "
            "folder of its own"
        )
    options = {key: value for key, value in given.items() if key != "command"}
    return Made(name, tuple(command.removeprefix("harness ").split()), options, place)


def _run(index: int, given: Mapping[str, Any], lines: Lines) -> Run:
    place: Place = ("runs", index)
    name = _text(given, "name", lines, place, "a name, such as plain")
    _check_name(name, lines, (*place, "name"), "a run")
    tasks = given.get("tasks")
    if tasks is not None and (
        not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks)
    ):
        raise StudyError(
            f"{lines.where((*place, 'tasks'))}: the tasks of a run are a list of names out of the "
            "study's tasks"
        )
    rest = {key: value for key, value in given.items() if key not in ("name", "tasks")}
    settings = checked(rest, lines, place, ("name", "tasks"))
    return Run(name, settings, None if tasks is None else tuple(tasks), place)


def _task(index: int, given: Any, lines: Lines) -> Task:
    place: Place = ("tasks", index)
    if isinstance(given, str):
        given = {"task": given}
    if not isinstance(given, dict):
        raise StudyError(f"{lines.where(place)}: a task is a name, or {{task: NAME, limit: 100}}")
    task = _text(given, "task", lines, place, "lm-eval's name of a task, or a YAML file")
    own = given.get("name", Path(task).stem if task.endswith(".yaml") else task)
    name = str(own)
    _check_name(name, lines, (*place, "name"), "a task (name: gives it another name here)")
    rest = {key: value for key, value in given.items() if key not in ("name", "task")}
    return Task(name, task, checked(rest, lines, place, ("task", "name")), place)


def _check_names(study: Study) -> None:
    """Names are there once, and those that are referred to are there."""
    named: list[tuple[str, Sequence[Run] | Sequence[Task]]] = [
        ("run", study.runs),
        ("task", study.tasks),
    ]
    for what, entries in named:
        seen: set[str] = set()
        for entry in entries:
            if entry.name in seen:
                raise study.wrong(
                    (*entry.place, "name"),
                    f"a {what} called '{entry.name}' is there before; give this one another",
                )
            seen.add(entry.name)
    tasks = [task.name for task in study.tasks]
    referred: list[tuple[Place, str]] = [
        *(
            ((*r.place, "tasks", i), task)
            for r in study.runs
            for i, task in enumerate(r.tasks or ())
        ),
        *((("tradeoff", "gain"), task) for task in ([study.gain] if study.gain else [])),
        *((("tradeoff", "retained", i), task) for i, task in enumerate(study.retained)),
    ]
    for place, task in referred:
        if task not in tasks:
            raise study.wrong(place, misnamed(task, tasks, "task of the study"))
