"""YAML from anywhere: plain values of a bounded size, one line otherwise.

A YAML text can be small and its value not: aliases that multiply, lists in lists, numbers of a
million digits. Files here are configuration that people write by hand, and need none of these.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from harness.artefacts.reading import ENCODING, read_bytes
from harness.artefacts.writing import whole
from harness.errors import DataError, HarnessError, one_line

LARGEST = 2**20
"""Bytes of a YAML file, at most."""
_DIGITS = 30  # of a whole number


class _Loader(yaml.SafeLoader):
    """Refuses aliases, long numbers, and a key that is there twice, of which YAML drops one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            found = self.peek_event()  # type: ignore[no-untyped-call]
            raise _at(found, "an alias; write out what it stands for")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and whole(node.value) != node.value:
            raise _at(node, "half a surrogate pair in a text")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise _at(key, f"{str(key.value)!r} is there before")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value) > _DIGITS:
            raise _at(node, f"a number of {len(node.value):,} digits")
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


class _Fault(yaml.YAMLError):
    """What is refused, and the line on which it stands."""

    def __init__(self, line: int, said: str) -> None:
        super().__init__(f"line {line}: {said}")
        self.line, self.said = line, said


def _at(place: Any, said: str) -> _Fault:
    return _Fault(place.start_mark.line + 1, said)


Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands in a document: keys of mappings, and places in lists from 0."""


@dataclass(frozen=True)
class Lines:
    """On which line of a YAML file each value stands.

    Args:
        path: The file.
        numbers: The line of each value, from 1; of a key's value that of the key.
    """

    path: Path
    numbers: Mapping[Place, int]

    def where(self, place: Place) -> str:
        """``FILE:LINE`` of a value, or of the nearest one that it stands in."""
        while place not in self.numbers:
            place = place[:-1]
        return f"{self.path}:{self.numbers[place]}"


def read_yaml(path: Path, error: type[HarnessError] = DataError) -> Any:
    """The value of a YAML file: mappings, lists, texts, numbers, truth values.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        HarnessError: It cannot be read, is no YAML, or has a tag of its own, an alias or a key
            twice.
    """
    return _read(path, error)[0]


def read_yaml_lines(path: Path, error: type[HarnessError] = DataError) -> tuple[Any, Lines]:
    """As ``read_yaml``, with the line of each value; what is wrong begins with ``FILE:LINE``.

    Raises:
        HarnessError: As for ``read_yaml``.
    """
    value, node = _read(path, error, with_line=True)
    numbers: dict[Place, int] = {(): 1}
    if node is not None:
        _number(node, (), numbers)
    return value, Lines(path, numbers)


def _read(
    path: Path, error: type[HarnessError], *, with_line: bool = False
) -> tuple[Any, yaml.Node | None]:
    """A file's value and its tree."""
    try:
        loader = _Loader(read_bytes(path, LARGEST).decode(ENCODING))
        try:
            node = loader.get_single_node()
            return None if node is None else loader.construct_document(node), node
        finally:
            loader.dispose()
    except RecursionError:
        raise error(f"{path} cannot be read as YAML: nested too deeply") from None
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path} cannot be read: no UTF-8 at byte {cause.start}") from cause
    except yaml.YAMLError as cause:
        line, said = _fault(cause)
        if with_line and line is not None:
            raise error(f"{path}:{line}: no YAML that is read here: {said}") from cause
        raise error(f"{path} cannot be read as YAML: {one_line(cause, 300)}") from cause
    except Exception as cause:  # what a tag's constructor raises depends on the text
        raise error(f"{path} cannot be read as YAML: {one_line(cause, 300)}") from cause


def _fault(cause: yaml.YAMLError) -> tuple[int | None, str]:
    """The line on which a text is no YAML, and why it is none."""
    if isinstance(cause, _Fault):
        return cause.line, one_line(cause.said, 300)
    mark = getattr(cause, "problem_mark", None)
    return (mark.line + 1 if mark else None), one_line(
        getattr(cause, "problem", None) or cause, 300
    )


def _number(node: yaml.Node, place: Place, numbers: dict[Place, int]) -> None:
    """Note the lines of all that is in a node; its own is noted."""
    if isinstance(node, yaml.MappingNode):
        inner = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inner = [(index, value, value) for index, value in enumerate(node.value)]
    else:
        return
    for name, first, value in inner:
        numbers[(*place, name)] = first.start_mark.line + 1
        _number(value, (*place, name), numbers)
