"""The command of an artefact: options of a study's file as the words that a person would type.

{command: axbench train, methods: [a, b], batch_size: 8}
harness axbench train --methods a,b --batch-size 8
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.errors import meant
from harness.studies.reading.file import Made, Study
from harness.studies.reading.settings import misnamed


def words(
    study: Study, made: Made, options: Mapping[str, Any], tree: Any | None
) -> tuple[str, ...]:
    """The words of an artefact's command, without ``--out``.

    Args:
        study: The study, for messages.
        made: The artefact.
        options: Its options, with what its references refer to in their places.
        tree: The command tree of ``harness``, against which command and options are checked; None
            to leave that to the command.

    Raises:
        StudyError: There is no such command or option, or the command writes no ``--out``.
    """
    known = None if tree is None else _options(study, made, tree)
    found = ["harness", *made.command]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if known is not None and option not in known:
            there = [word.removeprefix("--") for word in known]
            rest = meant(name.replace("_", "-"), there, "it has")
            said = f"'harness {' '.join(made.command)}' has no option {option}"
            raise study.wrong((*made.place, name), f"{said}; {rest}")
        found += _given(option, value, known)
    return tuple(found)


def _given(option: str, value: Any, known: Mapping[str, Any] | None) -> list[str]:
    """The words of one option."""
    declared = known[option] if known is not None else None
    if value is None:
        return []
    if isinstance(value, bool):
        off = [one for one in getattr(declared, "secondary_opts", ()) if one.startswith("--")]
        return [option] if value else off[:1]
    if isinstance(value, list):
        parts = [_text(one) for one in value]
        if getattr(declared, "multiple", False):
            return [word for part in parts for word in (option, part)]
        return [option, ",".join(parts)]
    return [option, _text(value)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _options(study: Study, made: Made, tree: Any) -> dict[str, Any]:
    """The options of an artefact's command, by name."""
    from typer import Context

    place = (*made.place, "command")
    command, done = tree, ["harness"]
    for word in made.command:
        context = Context(command)
        below = command.list_commands(context) if hasattr(command, "list_commands") else []
        if word not in below:
            said = misnamed(word, below, f"command of '{' '.join(done)}'")
            raise study.wrong(place, said)
        command = command.get_command(context, word)
        done.append(word)
    found = {
        option: parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in parameter.opts
    }
    if "--out" not in found:
        raise study.wrong(place, f"'{' '.join(done)}' makes no artefact: it has no --out")
    return found
