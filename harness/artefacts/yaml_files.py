"""YAML from anywhere: plain values of a bounded size, one line otherwise.

A YAML text can be small and its value not: aliases that multiply, lists in lists, numbers of a
million digits. Files here are configuration that people write by hand, and need none of these.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

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


def _at(place: Any, said: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {place.start_mark.line + 1}: {said}")


def read_yaml(path: Path, error: type[HarnessError] = DataError) -> Any:
    """The value of a YAML file: mappings, lists, texts, numbers, truth values.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        HarnessError: It cannot be read, is no YAML, or has a tag of its own, an alias or a key
            twice.
    """
    try:
        return yaml.load(read_bytes(path, LARGEST).decode(ENCODING), Loader=_Loader)  # noqa: S506 -- a SafeLoader
    except RecursionError:
        raise error(f"{path} cannot be read as YAML: nested too deeply") from None
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path} cannot be read: no UTF-8 at byte {cause.start}") from cause
    except Exception as cause:  # what a tag's constructor raises depends on the text
        raise error(f"{path} cannot be read as YAML: {one_line(cause, 300)}") from cause
