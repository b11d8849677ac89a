"""References in a study's file: ``{vectors}``, an artefact's folder; ``{plain/mmlu}``, a cell's.

``{{vectors}}`` is the text ``{vectors}``; braces around anything else than names, as in JSON, stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.artefacts.yaml_files import Place
from harness.studies.reading.file import NAME

_NAMED = rf"{NAME}(?:/{NAME})?"
_REFERENCE = re.compile(rf"\{{\{{(?P<text>{_NAMED})\}}\}}|\{{(?P<name>{_NAMED})\}}")


def texts(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """All texts in a structure of plain values, each with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*place, index))


def named_in(text: str) -> list[str]:
    """What a text refers to.

    >>> named_in("{vectors}/x and {plain/mmlu}, not {{this}} nor {"a": 1}")
    ['vectors', 'plain/mmlu']
    """
    return [found["name"] for found in _REFERENCE.finditer(text) if found["name"]]


def references(value: Any) -> list[str]:
    """What a structure of plain values refers to, each once."""
    return list(dict.fromkeys(name for _, text in texts(value) for name in named_in(text)))


def changed(value: Any, change: Callable[[str, Place], Any], place: Place = ()) -> Any:
    """The same structure, each text changed by what it is and where it stands."""
    if isinstance(value, str):
        return change(value, place)
    if isinstance(value, Mapping):
        return {key: changed(inner, change, (*place, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [changed(inner, change, (*place, index)) for index, inner in enumerate(value)]
    return value


def filled(text: str, meant: Callable[[str], str]) -> str:
    """A text with what is meant in the place of each reference."""

    def put(found: re.Match[str]) -> str:
        return f"{{{found['text']}}}" if found["text"] else meant(found["name"])

    return _REFERENCE.sub(put, text)
