"""The objectives by name: TAID and its rivals."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from harness import HarnessError
from harness.errors import meant
from harness_taid.objectives import divergences
from harness_taid.objectives.adaptive_kl import AdaptiveKL
from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.blended import Blended
from harness_taid.objectives.ctkd import CTKD
from harness_taid.objectives.dkd import DKD
from harness_taid.objectives.minillm import MiniLLM
from harness_taid.objectives.ranges import require
from harness_taid.objectives.taid import TAID

__all__ = ["COMPATS", "NAMES", "Context", "Objective", "Terms", "build", "described"]

_CLASSES: tuple[type[Objective], ...] = (
    divergences.SFT,
    divergences.ForwardKL,
    divergences.ReverseKL,
    divergences.TotalVariation,
    divergences.JensenShannon,
    divergences.SkewForwardKL,
    divergences.SkewReverseKL,
    AdaptiveKL,
    CTKD,
    DKD,
    MiniLLM,
    TAID,
)
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
        settings: Its settings; what is left out has the default that ``described`` shows. Beside
            an objective's own there is ``ratio``, 1 by default, for all but sft: below 1, loss =
            (1 − ratio) · cross-entropy with the labels + ratio · objective.
        total_steps: Optimiser steps of the whole training.
        steps_per_epoch: Optimiser steps in a pass over the data; by default all of them.
        compat: ``paper``, or ``reference`` for the reference code with its defects.

    Raises:
        HarnessError: There is no such objective or setting, or its value is out of range.
    """
    if name not in _BY_NAME:
        raise HarnessError(f"--objective {name}: {meant(name, NAMES)}")
    if compat not in COMPATS:
        raise HarnessError(f"--compat {compat}: {meant(compat, COMPATS)}")
    context = Context(
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch or total_steps,
        reference=compat == "reference",
    )
    own = dict(settings or {})
    for key, value in own.items():
        _check(name, key, value)
    ratio = own.pop("ratio", 1.0)
    objective = _BY_NAME[name](context, **own)
    return objective if ratio == 1 else Blended(objective, ratio)


def described(name: str) -> str:
    """An objective's formula, in its class's first line, and its settings with their defaults."""
    objective = _BY_NAME[name]
    first = (objective.__doc__ or "").strip().splitlines()[0]
    defaults = ", ".join(f"{key} {value}" for key, value in _settings(objective).items())
    return f"{first} [{defaults}]" if defaults else first


def _settings(objective: type[Objective]) -> dict[str, Any]:
    """An objective's own settings with their defaults."""
    parameters = inspect.signature(objective).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check(name: str, key: str, value: Any) -> None:
    objective = _BY_NAME[name]
    known = _settings(objective) | ({"ratio": 1.0} if objective.needs_teacher else {})
    if key not in known:
        has = meant(key, known, "its settings are") if known else "it has no settings"
        raise HarnessError(f"objective {name} has no setting {key!r}: {has}")
    wants_switch, is_switch = isinstance(known[key], bool), isinstance(value, bool)
    if wants_switch != is_switch or not isinstance(value, (bool, int, float)):
        kind = "true or false" if wants_switch else "a number"
        raise HarnessError(f"objective {name}: {key}={value!r} is not {kind}")
    if key == "ratio":
        require(name, "ratio", value, 0, 1)
