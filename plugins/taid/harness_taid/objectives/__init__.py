"""The objectives by name: TAID and its rivals."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.divergences import ForwardKL

__all__ = ["COMPATS", "NAMES", "Context", "Objective", "Terms", "build", "described"]

_CLASSES: tuple[type[Objective], ...] = (ForwardKL,)
_BY_NAME = {objective.name: objective for objective in _CLASSES}
NAMES: tuple[str, ...] = tuple(_BY_NAME)
COMPATS = ("paper", "reference")


def build(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    total_steps: int,
    steps_per_epoch: int | None = None,
    compat: str = "paper",
) -> Objective:
    """An objective by its name.

    Args:
        name: One of ``NAMES``.
        settings: Its settings; what is left out has the default that ``described`` shows.
        total_steps: Optimiser steps of the whole training.
        steps_per_epoch: Optimiser steps in a pass over the data; by default all of them.
        compat: ``paper``, or ``reference`` for the reference code with its defects.

    Raises:
        HarnessError: There is no such objective or setting, or its value is out of range.
    """
    if name not in _BY_NAME:
        raise HarnessError(f"--objective {name}: use one of {', '.join(NAMES)}")
    if compat not in COMPATS:
        raise HarnessError(f"--compat {compat}: use one of {', '.join(COMPATS)}")
    context = Context(
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch or total_steps,
        reference=compat == "reference",
    )
    known = _settings(_BY_NAME[name])
    for key, value in (settings or {}).items():
        if key not in known:
            has = f"its settings are {', '.join(known)}" if known else "it has no settings"
            raise HarnessError(f"objective {name} has no setting {key!r}: {has}")
        _check_kind(name, key, value, known[key])
    return _BY_NAME[name](context, **(settings or {}))


def described(name: str) -> str:
    """An objective's formula, in its class's first line, and its settings with their defaults."""
    objective = _BY_NAME[name]
    first = (objective.__doc__ or "").strip().splitlines()[0]
    defaults = ", ".join(f"{key} {value}" for key, value in _settings(objective).items())
    return f"{first} [{defaults}]" if defaults else first


def _settings(objective: type[Objective]) -> dict[str, Any]:
    parameters = inspect.signature(objective).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check_kind(name: str, key: str, value: object, default: object) -> None:
    wanted = bool if isinstance(default, bool) else (int, float)
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        kind = "true or false" if wanted is bool else "a number"
        raise HarnessError(f"objective {name}: {key}={value!r} is not {kind}")
