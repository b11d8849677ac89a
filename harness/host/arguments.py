"""``--model_args``, read before anything is loaded: what is misspelt, and where a model is."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.artefacts import gguf
from harness.artefacts.adapters import Adapter, adapter_in
from harness.artefacts.layers import check_layers
from harness.errors import HarnessError
from harness.testbed import PREFIX as TESTBED
from harness.testbed import resolve

log = logging.getLogger(__name__)

PATHS = ("/", "./", "../", "~")
"""How a value begins that is a path, and no name on the hub."""
_STOCK = "lm_eval"
_ADDING = ("peft", "lora_local_path")
"""lm-eval's options for adapters; a model of our own without them opens an adapter itself."""


def named(part: type) -> frozenset[str]:
    """The named arguments of a class's own constructor."""
    init = vars(part).get("__init__")
    if not inspect.isfunction(init):
        return frozenset()
    given = inspect.signature(init).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in given if p.kind in kinds) - {"self"}


def read(model: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's arguments, ``testbed:NAME`` and GGUF resolved, an adapter put behind its base.

    Args:
        model: Its class.
        given: What the user gave.

    Raises:
        HarnessError: An argument is nearly one that the class has beyond lm-eval's, or
            ``pretrained`` is a path that is not there, a damaged checkpoint, or an adapter that
            cannot be loaded.
    """
    own, stock = (
        {name for part in model.__mro__ if _is_stock(part) is is_stock for name in named(part)}
        for is_stock in (False, True)
    )
    meant = own - stock | (_required(model) - set(given))
    for name in set(given) - own - stock:
        if near := get_close_matches(name, meant, n=1, cutoff=0.8):
            raise HarnessError(
                f"--model_args {name}=…: there is no such argument; did you mean {near[0]}?"
            )
    if _is_stock(model):
        given = {name: _with_folder(name, value) for name, value in given.items()}
    pretrained = given.get("pretrained")
    if not isinstance(pretrained, str):
        return dict(given)
    if (file := gguf.named(pretrained, given.get("gguf_file"))) != pretrained:
        pretrained, given = file, {k: v for k, v in given.items() if k != "gguf_file"}
        given["pretrained"] = pretrained
    if gguf.is_gguf(pretrained) and _is_stock(model) and "gguf_file" not in stock:
        return dict(given)  # it may read such files in its own way
    if pretrained.startswith(PATHS) and not Path(pretrained).expanduser().exists():
        raise HarnessError(f"--model_args pretrained={pretrained}: there is no such folder or file")
    adapter = adapter_in(pretrained)
    if adapter and (_is_stock(model) or not stock.isdisjoint(_ADDING)):
        given = {**given, **_with_base(pretrained, adapter, given, stock)}
        pretrained = given["pretrained"]
    folder = Path(resolve(pretrained)).expanduser()
    if (folder / "config.json").is_file():
        check_layers(folder)
    if _is_stock(model):
        return {**given, "pretrained": resolve(pretrained)}
    return dict(given)  # a wrapper resolves it itself, and says its name


def _required(model: type) -> set[str]:
    """Arguments without which a class cannot be made."""
    parameters = list(inspect.signature(model.__init__).parameters.values())[1:]  # type: ignore[misc]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name for p in parameters if p.default is p.empty and p.kind not in kinds}


def _with_folder(name: str, value: Any) -> Any:
    """A further argument of lm-eval's own models, ``testbed:NAME`` resolved; ``model`` is not one.

    That is a name in a service's keeping, which may be any.
    """
    elsewhere = name in ("pretrained", "model") or not isinstance(value, str)
    return value if elsewhere or not value.startswith(TESTBED) else resolve(value)


def _with_base(
    pretrained: str, adapter: Adapter, given: Mapping[str, Any], stock: set[str]
) -> dict[str, str]:
    """What an adapter's folder stands for: its base, and the adapter by lm-eval's own option."""
    option = next((name for name in _ADDING if name in stock), "")
    instead = f"pretrained={adapter.base},{option or 'peft'}={pretrained}"
    what = f"--model_args pretrained={pretrained} is an adapter of {adapter.base}"
    if option != "peft" or given.get("peft") or given.get("trust_remote_code"):
        raise HarnessError(f"{what}: give {instead}")
    log.warning("%s: loaded as %s", what, instead)
    return {"pretrained": adapter.base, "peft": pretrained}


def _is_stock(part: type) -> bool:
    return part.__module__.partition(".")[0] in (_STOCK, "builtins")
