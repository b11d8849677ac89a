"""How strongly each row of a steering task is steered: the factors, in units of max_act.

A run that steers is known by ``steering`` among its model arguments, which lm-eval hands to tasks
as metadata; so are ``method`` and ``intervention``. A factor of None means: no factor. It is what
the rows of an unsteered model have, and those of a method or an intervention without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness import DataError, HarnessError
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.steering.steering import CLAMP, MIN_CLAMP, NULL_OUT

FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0)
"""For steering by addition."""
CLAMP_FACTORS = (0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 100.0)
"""For clamping an SAE's feature."""

Factors = tuple[float | None, ...]
NONE: Factors = (None,)


def steering_factors(metadata: Mapping[str, Any]) -> Factors:
    """The factors of a run that steers towards concepts, or ``(None,)``.

    Args:
        metadata: The run's metadata. ``axbench_factors`` overrides what follows from
            ``steering``, ``method`` and ``intervention``.

    Raises:
        DataError: ``axbench_factors`` is no list of numbers, or there is nothing to be scaled.
        HarnessError: The dictionary has several methods with different factors, and none is named.
    """
    given = _given(metadata)
    if not metadata.get("steering"):
        if given:
            raise DataError("axbench_factors is for a run that steers; this one has no steering=")
        return NONE
    own = _own(metadata)
    if not own and given:
        raise DataError("axbench_factors: this method or intervention has no factor; leave it out")
    return given or own or NONE


def suppression_factors(metadata: Mapping[str, Any]) -> Factors:
    """The negated factors of a run that steers away from concepts, or ``(None,)``.

    Raises:
        HarnessError: As ``steering_factors``; or there is no factor to negate, or to no effect.
    """
    found = steering_factors(metadata)
    if metadata.get("steering") and metadata.get("intervention") == MIN_CLAMP:
        raise HarnessError(
            "axbench_suppress: intervention=min_clamp never lowers a concept's score; use add, "
            "clamp or null_out"
        )
    if found == NONE and metadata.get("steering") and not _nulls(metadata):
        raise HarnessError(
            "axbench_suppress negates factors and this method has none; use a method that has "
            "vectors, or intervention=null_out"
        )
    return tuple(None if factor is None else -factor for factor in found)


def _nulls(metadata: Mapping[str, Any]) -> bool:
    return metadata.get("intervention") == NULL_OUT


def _own(metadata: Mapping[str, Any]) -> tuple[float, ...]:
    """What follows from the intervention, else from the method; empty for no factor."""
    if _nulls(metadata):
        return ()
    found = dictionary.read(str(metadata["steering"]))
    lists = {
        tuple(float(factor) for factor in found.facts(method).get("factors", FACTORS))
        for method in _candidates(found, metadata.get("method"))
    }
    if len(lists) > 1:
        raise HarnessError(
            f"{found.folder}: its methods differ in their factors; pass method=, one of "
            f"{', '.join(found.methods)}"
        )
    own = lists.pop() if lists else FACTORS
    return CLAMP_FACTORS if own and metadata.get("intervention") in (CLAMP, MIN_CLAMP) else own


def _candidates(found: dictionary.Dictionary, method: object) -> Sequence[str]:
    """The method that steers, or where none is named all that can."""
    if method is not None:
        return [str(method)]
    return [name for name in found.methods if found.facts(name)["kind"] in kinds.STEERING]


def _given(metadata: Mapping[str, Any]) -> tuple[float, ...]:
    """``axbench_factors``, each once, in the order given; empty where it is not given."""
    value = metadata.get("axbench_factors")
    if value is None:
        return ()
    numbers = value if isinstance(value, (list, tuple)) else ()
    if not numbers or not all(_is_number(number) for number in numbers):
        raise DataError(
            f"axbench_factors={value}: give a list of positive numbers, as in --metadata "
            f"axbench_factors=[0.4,1.0]"
        )
    return tuple(dict.fromkeys(float(number) for number in numbers))


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]
