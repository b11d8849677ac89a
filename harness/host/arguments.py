"""``--model_args``, read before anything is loaded: what is misspelt, and where a model is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.testbed import resolve

_PLACES = ("/", "./", "../", "~")
_STOCK = "lm_eval"


def own_parameters(model: type) -> dict[str, type]:
    """The constructor's named parameters that lm-eval's classes do not have, with their class."""
    found: dict[str, type] = {}
    for part in reversed(model.__mro__):
        for name, parameter in _parameters(part).items():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name != "self":
                found[name] = part
    return {name: part for name, part in found.items() if not _is_stock(part)}


def read(model: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's arguments, ``testbed:NAME`` resolved.

    Args:
        model: Its class.
        given: What the user gave.

    Raises:
        HarnessError: An argument is nearly one that the class has beyond lm-eval's, or
            ``pretrained`` is a path that is not there.
    """
    known = {name for part in model.__mro__ for name in _parameters(part)}
    for name in given:
        near = get_close_matches(name, own_parameters(model), n=1, cutoff=0.8)
        if near and name not in known:
            raise HarnessError(
                f"--model_args {name}=…: there is no such argument; did you mean {near[0]}?"
            )
    pretrained = given.get("pretrained")
    if not isinstance(pretrained, str):
        return dict(given)
    if pretrained.startswith(_PLACES) and not Path(pretrained).expanduser().exists():
        raise HarnessError(f"--model_args pretrained={pretrained}: there is no such folder")
    if _is_stock(model):
        return {**given, "pretrained": resolve(pretrained)}
    return dict(given)  # a wrapper resolves it itself, and says its name


def _parameters(part: type) -> Mapping[str, inspect.Parameter]:
    init = vars(part).get("__init__")
    return inspect.signature(init).parameters if inspect.isfunction(init) else {}


def _is_stock(part: type) -> bool:
    return part.__module__.partition(".")[0] in (_STOCK, "builtins")
