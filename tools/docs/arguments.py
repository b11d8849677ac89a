"""The reference of ``--model_args`` and ``--metadata``: each key as its own class documents it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from harness.host import arguments, discovery
from harness.judging.options import JudgeOptions
from tools.docs import places
from tools.docs.tables import code, page, prose, table

_MODELS = (
    "Models that plugins bring to `lm_eval --model`, and what each takes in `--model_args` beyond "
    "lm-eval's own arguments. Parts join: `hf-steered+speculative` takes the arguments of both "
    "([models of parts](../running.md#models-of-parts)). `pretrained=testbed:teacher` and the "
    "like work with all of them."
)
_OPTIONS = (
    "What a run says to tasks: `lm_eval --metadata key=value`, or one JSON object where values "
    "nest. A misspelt key is refused with what was meant."
)
_REST = {"hf-fact-checker": "harness_factcg.checking.opening:open_checker"}
"""Who takes the arguments that a model only passes on."""
_IGNORED = ("batch_size", "max_batch_size")  # of models that batch by themselves
_STOCK = ("lm_eval", "builtins", "torch", "abc", "typing")


def models_page() -> str:
    """The page of models and their arguments."""
    parts = []
    for plugin in discovery.plugins():
        for name, target in sorted(plugin.of_kind("model").items()):
            parts.append(_model(name, _class(plugin, name, target)))
    return page("Models and their arguments", _MODELS, *parts)


def options_page() -> str:
    """The page of the options of a run."""
    parts = ["## Judging", _options(JudgeOptions)]
    for paper in places.papers():
        kind = import_module(f"harness_{paper}.options").RunOptions
        first = (places.ROOT / "plugins" / paper / "README.md").read_text(encoding="utf-8")
        title = first.partition("\n")[0].removeprefix("# ")
        parts += [f"## {title}", f"More on [its page](../papers/{paper}.md).", _options(kind)]
    return page("Options of a run", _OPTIONS, *parts)


def _class(plugin: discovery.Plugin, name: str, target: str) -> type:
    """The class that answers, without what the host composes it with."""
    backend, _, part = name.partition("-")
    if (backend, part) in plugin.parts:
        target = plugin.parts[backend, part].target
    found: type = _resolved(target)
    return found


def _resolved(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _model(name: str, kind: type) -> str:
    found = {key: (default, text) for key, default, text in _arguments(kind)}
    if name in _REST:
        found |= _rest(_resolved(_REST[name]))
    rows = [(code(key), *told) for key, told in found.items() if told[1]]
    summary = prose((inspect.getdoc(kind) or "").partition("\n\n")[0])
    parts = [f"## {name}", summary]
    if rows:
        parts.append(table(["argument", "default", ""], rows))
    else:
        parts.append("It takes lm-eval's own arguments alone.")
    return "\n\n".join(parts)


def _arguments(kind: type) -> Iterator[tuple[str, str, str]]:
    """Arguments that are not lm-eval's: name, default, meaning."""
    seen: set[str] = set()
    for part in kind.__mro__:
        if part.__module__.partition(".")[0] in _STOCK:
            continue
        told = _described(part, "parameters")
        signature = (
            inspect.signature(vars(part)["__init__"]).parameters if arguments.named(part) else {}
        )
        for name in (n for n in signature if n in arguments.named(part) and n not in seen):
            seen.add(name)
            yield name, _default(signature[name].default), told.get(name, "")


def _rest(function: Any) -> dict[str, tuple[str, str]]:
    told = _described(function, "parameters")
    given = inspect.signature(function).parameters
    rest = {name: (_default(given[name].default), text) for name, text in told.items()}
    return rest | dict.fromkeys(_IGNORED, ("", ""))


def _described(part: Any, section: str) -> dict[str, str]:
    """What a docstring says of each name, by griffe's reading of it."""
    import griffe

    parsed = griffe.Docstring(inspect.getdoc(part) or "").parse("google", warnings=False)
    found = [s for s in parsed if s.kind.value == section]
    return {item.name: prose(item.description) for s in found for item in s.value}


def _options(kind: Any) -> str:
    alias = kind.__pydantic_config__["alias_generator"]
    told = _described(kind, "attributes")
    rows = []
    for field in dataclasses.fields(kind):
        default = field.default
        rows.append((code(alias(field.name)), _default(default), told.get(field.name, "")))
    return table(["key", "default", ""], rows)


def _default(value: object) -> str:
    if value in (inspect.Parameter.empty, dataclasses.MISSING, None, "", ()):
        return ""
    if isinstance(value, (tuple, list)):
        return code("+".join(map(str, value)))
    return code(value) if isinstance(value, (str, int, float)) else ""
