"""How strongly each row of a steering task is steered: the factors, in units of max_act.

A run that steers is known by ``steering`` among its model arguments, which lm-eval hands to tasks
as metadata; so are ``method`` and ``intervention``. A factor of None means: no factor. It is what
the rows of an unsteered model have, and those of a method or an intervention without one.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness import DataError, HarnessError
from harness_axbench.dictionary.folder import Dictionary, read
from harness_axbench.dictionary.kinds import STEERING
from harness_axbench.options import RunOptions
from harness_axbench.steering.steering import CLAMP, MIN_CLAMP, NULL_OUT

FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0)
"""For steering by addition."""
CLAMP_FACTORS = (0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 100.0)
"""For clamping an SAE's feature."""

Factors = tuple[float | None, ...]
NONE: Factors = (None,)


def steering_factors(run: RunOptions) -> Factors:
    """The factors of a run that steers towards concepts, or ``(None,)``.

    Args:
        run: Its options; ``factors`` override what follows from ``steering``, ``method`` and
            ``intervention``.

    Raises:
        DataError: ``axbench_factors`` is given, and there is nothing to be scaled.
        HarnessError: The dictionary has several methods with different factors, and none is named.
    """
    if not run.steering:
        if run.factors:
            raise DataError("axbench_factors is for a run that steers; this one has no steering=")
        return NONE
    own = _own(run, run.steering)
    if not own and run.factors:
        raise DataError("axbench_factors: this method or intervention has no factor; leave it out")
    return run.factors or own or NONE


def suppression_factors(run: RunOptions) -> Factors:
    """The negated factors of a run that steers away from concepts, or ``(None,)``.

    Raises:
        HarnessError: As ``steering_factors``; or there is no factor to negate, or to no effect.
    """
    found = steering_factors(run)
    if run.steering and run.intervention == MIN_CLAMP:
        raise HarnessError(
            "axbench_suppress: intervention=min_clamp never lowers a concept's score; use add, "
            "clamp or null_out"
        )
    if found == NONE and run.steering and not _nulls(run):
        raise HarnessError(
            "axbench_suppress negates factors and this method has none; use a method that has "
            "vectors, or intervention=null_out"
        )
    return tuple(None if factor is None else -factor for factor in found)


def _nulls(run: RunOptions) -> bool:
    return run.intervention == NULL_OUT


def _own(run: RunOptions, steering: str) -> tuple[float, ...]:
    """What follows from the intervention, else from the method; empty for no factor."""
    if _nulls(run):
        return ()
    found = read(steering)
    lists = {
        tuple(float(factor) for factor in found.facts(method).get("factors", FACTORS))
        for method in _candidates(found, run.method)
    }
    if len(lists) > 1:
        raise HarnessError(
            f"{found.folder}: its methods differ in their factors; pass method=, one of "
            f"{', '.join(found.methods)}"
        )
    own = lists.pop() if lists else FACTORS
    return CLAMP_FACTORS if own and run.intervention in (CLAMP, MIN_CLAMP) else own


def _candidates(found: Dictionary, method: str | None) -> Sequence[str]:
    """The method that steers, or where none is named all that can."""
    if method is not None:
        return [method]
    return [name for name in found.methods if found.facts(name)["kind"] in STEERING]
