r"""Models of parts: ``hf-steered``, ``hf-steered+speculative``, and the like.

    lm_eval --model hf-steered+speculative \
        --model_args pretrained=M,steering=DIR,method=diffmean,drafter=D --tasks …

What a plugin registers as a wrapper is a part. Its stage says where it stands: what *answers* asks
what *edits*, which asks what *decodes*, which asks lm-eval's own model; within a stage parts stand
by name, and of two edits of one block the first edits last. So the order in which a user names them
is of no account. Parts that cannot meet are
refused before a model is loaded (``parts``).

``hf_steered`` and its like are found here as attributes, for lm-eval's registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from harness.errors import HarnessError, PluginError, UnknownNameError, meant
from harness.host import discovery
from harness.host.hookspecs import STAGES
from harness.models import parts

_BACKENDS = {  # its wrapper's base, and lm-eval's class
    "hf": ("harness.models.hf:HFWrapper", "lm_eval.models.huggingface:HFLM"),
    "vllm": ("harness.models.vllm:VLLMWrapper", "lm_eval.models.vllm_causallms:VLLM"),
}


class Alone:
    """In front of one part: the results name it as they do among others."""

    part_names: ClassVar[tuple[str, ...]]

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model; ``method_label`` is what ``labels`` adds to it."""
        found: dict[str, Any] = super().get_model_info()  # type: ignore[misc]
        label = self.labels().get(self.part_names[0])  # type: ignore[attr-defined]
        told = {"method_label": f"{self.part_names[0]} ({label})"}
        return found | told if label and found.get("method") else found


class Composed:
    """In front of several parts: the results name them all."""

    part_names: ClassVar[tuple[str, ...]]
    part_arguments: ClassVar[dict[str, frozenset[str]]]

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model: ``method`` names the parts that had an effect."""
        arguments: dict[str, Any] = self.arguments  # type: ignore[attr-defined]
        found: dict[str, Any] = super().get_model_info()  # type: ignore[misc]
        labels: dict[str, str | None] = self.labels()  # type: ignore[attr-defined]
        given = {
            f"{part}.{name}": arguments[name]
            for part in self.part_names
            for name in sorted(self.part_arguments[part] & arguments.keys() - {"response_cache"})
        }
        effective = [name for name in self.part_names if labels.get(name, "") is not None]
        shown = {n: f"{n}({labels[n]})" if labels.get(n) else n for n in effective}
        idle: dict[str, frozenset[str]] = self.idle()  # type: ignore[attr-defined]
        return found | {
            "parts": list(self.part_names),
            "method": " + ".join(shown.values()),
            "method_args": given,
            "method_by_task": {
                task: " + ".join(text for name, text in shown.items() if name not in parts)
                for task, parts in idle.items()
            },
        }


def compose(name: str) -> type:
    """The class of a model that is made of parts.

    Args:
        name: ``hf-PART`` or ``vllm-PART``, with further parts behind ``+`` in any order.

    Raises:
        PluginError: There is no such part for this backend, or the parts cannot meet.
        HarnessError: A part cannot be imported here.
    """
    return _composed(*ordered_parts(name))


def ordered_parts(name: str) -> tuple[str, tuple[str, ...]]:
    """The backend of a model and its parts, as they ask each other; imports none of them.

    Args:
        name: As for ``compose``.

    Raises:
        PluginError: There is no such part for this backend, one is named twice, or two decode.
    """
    backend, _, rest = name.partition("-")
    if backend not in _BACKENDS or not rest:
        raise UnknownNameError(
            f"model '{name}' is not of the form BACKEND-PART+PART, with {' or '.join(_BACKENDS)}"
        )
    return backend, tuple(_ordered(name, backend, rest.split("+")))


def takers(argument: str) -> list[str]:
    """Parts of ``hf`` and ``vllm`` that take an argument, as far as they can be imported."""
    found = []
    for backend in _BACKENDS:
        for name in discovery.wrappers(backend):
            try:
                part = _part(backend, name, f"{backend}-{name}")
            except HarnessError:
                continue
            if argument in _arguments(part):
                found.append(name)
    return sorted(set(found))


def _ordered(name: str, backend: str, wanted: Sequence[str]) -> list[str]:
    known = discovery.wrappers(backend)
    for part in wanted:
        if part not in known:
            raise UnknownNameError(f"model '{name}': {_why_no_part(backend, part, sorted(known))}")
    if twice := [part for part, count in Counter(wanted).items() if count > 1]:
        raise PluginError(f"model '{name}': '{twice[0]}' is named twice")
    decoding = [part for part in wanted if known[part].stage == STAGES[-1]]
    if len(decoding) > 1:
        raise PluginError(f"model '{name}': {' and '.join(decoding)} both decode; use one of them")
    return sorted(wanted, key=lambda part: (STAGES.index(known[part].stage), part))


def _why_no_part(backend: str, part: str, known: Sequence[str]) -> str:
    whole = f"{backend}-{part}"
    if any(whole in plugin.of_kind("model") for plugin in discovery.plugins()):
        return f"{whole} is a model by itself, and no part of another: run it alone"
    others = [b for b in _BACKENDS if part in discovery.wrappers(b)]
    there = f" ('{part}' is for {', '.join(others)})" if others else ""
    causes = [f"plugin {plugin} is broken: {plugin.error}" for plugin in discovery.broken()]
    return "; ".join(
        [
            f"there is no part '{part}' for {backend}{there}",
            meant(part, known, "there are"),
            *causes,
        ]
    )


@cache
def _composed(backend: str, names: tuple[str, ...]) -> type:
    if backend == "vllm":
        _need_vllm(names)
    whole = f"{backend}-{'+'.join(names)}"
    found = {name: _part(backend, name, whole) for name in names}
    base, stock = map(_resolved, _BACKENDS[backend])
    title = "".join(part.title().replace("-", "") for part in (backend, *names))
    bases = (*found.values(), *([] if _has(found.values(), base) else [base]), stock)
    space = {
        "__module__": __name__,
        "__doc__": _described(backend, names),
        "part_names": names,
        "part_arguments": {name: frozenset(_arguments(part)) for name, part in found.items()},
    }
    if len(names) == 1:
        return type(title, (Alone, *bases), space)
    model = type(title, (Composed, *bases), space)
    parts.check(model, {part: name for name, part in found.items()}, whole)
    return model


def _part(backend: str, name: str, model: str) -> Any:
    target = discovery.wrappers(backend)[name].target
    try:
        return _resolved(target)
    except HarnessError:
        raise
    except Exception as cause:
        owner = next(p for p in discovery.plugins() if (backend, name) in p.parts)
        said = f"{type(cause).__name__}: {cause}"
        raise PluginError(
            f"model '{model}': part '{name}' of {owner} cannot be loaded from '{target}': {said}"
        ) from cause


def _need_vllm(names: Sequence[str]) -> None:
    try:
        import_module("vllm")
    except ImportError as missing:
        raise HarnessError(
            f"vllm-{'+'.join(names)} needs vLLM: pip install 'paperharness[vllm]' ({missing})"
        ) from missing


def _has(found: Any, base: type) -> bool:
    return any(issubclass(part, base) for part in found)


def _arguments(part: type) -> set[str]:
    return {name for kind in part.__mro__ for name in parts.arguments_of(kind)}


def _described(backend: str, names: Sequence[str]) -> str:
    return f"lm-eval's ``{backend}``, {' and '.join(names)}."


def _resolved(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> type:
    """``hf_steered``: the class of ``hf-steered``; a name may have hyphens itself."""
    backend, _, part = name.partition("_")
    if backend in _BACKENDS:
        for known in discovery.wrappers(backend):
            if known.replace("-", "_") == part:
                return compose(f"{backend}-{known}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
