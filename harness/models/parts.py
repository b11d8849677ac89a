"""What the parts of one model must not do to each other, told before it is loaded.

A part is a wrapper's mixin. lm-eval's own classes and the bases of ``harness.models`` are none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import permutations
from typing import Any

from harness.errors import HarnessError
from harness.host.arguments import named

_NOT_PARTS = ("lm_eval", "harness.models", "builtins", "abc")
_BASE = "harness.models.wrapping"
_COOPERATIVE = ("note", "passes", "identity", "labels", "idle", "prepare", "finished")
_ASKED = ("generate_until", "loglikelihood", "loglikelihood_rolling")


def parts_of(model: type) -> list[type]:
    """The parts in a model's class, outermost first."""
    return [part for part in model.__mro__ if not _is_base(part) and _says(part)]


def _is_base(part: type) -> bool:
    return any(part.__module__ == n or part.__module__.startswith(f"{n}.") for n in _NOT_PARTS)


def _says(part: type) -> bool:
    """Whether a class adds anything; one that only joins others does not."""
    return any(name == "__init__" or not name.startswith("__") for name in vars(part))


def arguments_of(part: type) -> frozenset[str]:
    """The named arguments that a class itself takes, but the model's name."""
    return named(part) - {"pretrained"}


def check(model: type, names: Mapping[type, str] | None = None, title: str = "") -> None:
    """Refuse a model whose parts cannot meet.

    Args:
        model: Its class.
        names: What the parts are called, where not by their class.
        title: What the model is called, where not by its class.

    Raises:
        HarnessError: Two parts take one argument, one passes another by or does not ask it, or one
            stands alone.
    """
    found = parts_of(model)
    called = {part: _called(part, names or {}) for part in found}
    for part in found:
        for method in _COOPERATIVE:
            if not _asks_super(vars(part).get(method)):
                raise HarnessError(
                    f"{title or model.__name__}: {called[part]}: {part.__name__}.{method} does not "
                    f"ask super().{method}, so that parts behind it would be without effect"
                )
    for one, other in permutations(found, 2):
        if issubclass(one, other) or issubclass(other, one):
            continue
        names_of_both = called[one], called[other]
        if fault := _fault(model, one, other, *names_of_both):
            raise HarnessError(f"{title or model.__name__}: {fault}")


def _called(part: type, names: Mapping[type, str]) -> str:
    """The name of the part that a class belongs to."""
    return next((n for whole, n in names.items() if issubclass(whole, part)), part.__name__)


def _asks_super(method: Any) -> bool:
    """Whether a method's code mentions super(); what is no function of its own is let pass."""
    function = inspect.unwrap(method) if callable(method) else None
    code = getattr(function, "__code__", None)
    return code is None or "super" in code.co_names


def _fault(model: type, one: type, other: type, name: str, others: str) -> str | None:
    """What one part does to another."""
    if taken := arguments_of(one) & arguments_of(other):
        return (
            f"{name} and {others} both take --model_args {', '.join(sorted(taken))}: they cannot "
            "be parts of one model"
        )
    if reason := vars(one).get("stands_alone"):
        return f"{name} cannot be joined with {others}: {reason}"
    for method in vars(one).get("passes_by", ()):
        if method in vars(other) and not (method in _ASKED and _in_front(model, other)):
            return (
                f"{name} would pass by {other.__name__}.{method}, so that {others} would be "
                "without effect; use one of the two"
            )
    return None


def _in_front(model: type, part: type) -> bool:
    """Whether lm-eval's questions reach a part before the base that all parts share."""
    order = model.__mro__
    bases = [k for k, kind in enumerate(order) if kind.__module__ == _BASE]
    return not bases or order.index(part) < bases[0]
