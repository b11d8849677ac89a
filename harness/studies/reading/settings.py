"""Settings of lm-eval in a study's file: which there are, their types, and how they are merged."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from harness.artefacts.yaml_files import Lines, Place
from harness.errors import HarnessError, meant, one_line
from harness.host.lm_eval_seams import parsed_arguments
from harness.secrets import is_secret, masked

MAPPINGS = ("model_args", "gen_kwargs", "metadata")
"""Settings that lm-eval takes as text too, ``a=1,b=2``."""
_OURS = {
    "config": "each cell has its own",
    "output_path": "each cell has a folder of its own, below out",
    "log_samples": "samples are always saved: comparing and judging again need them",
    "predict_only": "there would be nothing to compare",
}
_WIDER: dict[str, Any] = {  # than lm-eval's annotations, which its command line's parser passes by
    "batch_size": int | str,
    "limit": int | float | None,
    "trust_remote_code": bool,
}
_SHOWN = 60  # characters of a value in a message


class StudyError(HarnessError):
    """A study's file, or what it asks for, is wrong; the message says on which line."""


@functools.cache
def known() -> Mapping[str, Any]:
    """lm-eval's settings that a study may have, each with its type."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    hints = {
        name: kind for name, kind in get_type_hints(EvaluatorConfig).items() if name != "tasks"
    }
    return {name: kind for name, kind in (hints | _WIDER).items() if name not in _OURS}


def misnamed(name: object, names: Mapping[str, Any] | list[str], what: str) -> str:
    """That there is no such thing, and which is meant, or which there are."""
    rest = meant(name, names, "there are", near=0.6)
    return f"no {what} is called '{one_line(name, _SHOWN)}'; {rest}"


def checked(
    given: Mapping[str, Any], lines: Lines, place: Place, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """lm-eval's settings of one place of the file, texts of arguments read as lm-eval reads them.

    Args:
        given: The settings.
        lines: Where they stand in the file.
        place: The mapping that holds them.
        more: Other keys that the mapping may have, for messages.

    Raises:
        StudyError: A setting is unknown, is the study's own, or is of another type.
    """
    found = {}
    for name, value in given.items():
        here = lines.where((*place, name))
        if name in _OURS:
            raise StudyError(f"{here}: '{name}' is not for a study's file: {_OURS[name]}")
        if name not in known():
            raise StudyError(f"{here}: {misnamed(name, [*more, *known()], 'setting')}")
        as_text = name in MAPPINGS and isinstance(value, str)
        try:
            found[name] = TypeAdapter(known()[name]).validate_python(
                parsed_arguments(value) if as_text else value, strict=True
            )
        except ValidationError as cause:
            said = cause.errors(include_url=False)[0]["msg"]
            shown = one_line(str(value), _SHOWN)
            raise StudyError(f"{here}: {name} is {shown}: {one_line(said, 200)}") from cause
        if name == "limit" and found[name] is not None and found[name] <= 0:
            raise StudyError(f"{here}: limit is {found[name]}: give a number above 0")
    return found


def check_values(value: Any, lines: Lines, place: Place = ()) -> None:
    """Refuse what a configuration cannot hold, and secrets, which belong in the environment.

    Raises:
        StudyError: A value is no plain one, or is a secret; the message does not show it.
    """
    for name, inner in _inner(value):
        where = (*place, name)
        if not isinstance(name, (str, int)) or isinstance(name, bool):
            raise StudyError(
                f"{lines.where(place)}: the key {one_line(str(name), _SHOWN)} is no text: put it "
                "in quotes"
            )
        if isinstance(inner, (str, int, float)) and not isinstance(inner, bool):
            secret = isinstance(name, str) and is_secret(name)
            if secret or (isinstance(inner, str) and masked(inner) != inner):
                raise StudyError(
                    f"{lines.where(where)}: {'.'.join(map(str, where))} holds what looks like a "
                    "secret: it would be written into the cells' files; give it by an environment "
                    "variable (OPENAI_API_KEY, HF_TOKEN, …)"
                )
        plain = inner is None or isinstance(inner, (str, bool, int, float, dict, list))
        if not plain or (isinstance(inner, float) and not math.isfinite(inner)):
            shown = one_line(str(inner), _SHOWN)
            raise StudyError(f"{lines.where(where)}: {name} is {shown}: put a text in quotes")
        check_values(inner, lines, where)


def _inner(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings as one: ``over`` decides; mappings in both are merged in turn.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}})
    {'a': {'b': 4, 'c': 2}, 'd': 3}
    """
    found = dict(under)
    for name, value in over.items():
        before = found.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[name] = merged(before, value) if both else value  # type: ignore[arg-type]
    return found
