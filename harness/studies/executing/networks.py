"""A network that was loaded once and serves several cells.

Each cell builds its own lm-eval model, as a run by itself does; only what lm-eval's ``hf`` loads
from disk is kept, for the next model that asks for the same by equal arguments. It is given out
again only if it is as it was when it was loaded: the same modules, hooks, weights, buffers and
configuration. One that a cell has changed is loaded anew, and the cell's log says what differed.

Random numbers too go on as after a loading: it may draw some itself.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import one_line

log = logging.getLogger(__name__)

_PLAIN = (bool, int, float, str, type(None))
_BY_SIZE = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


@dataclass(frozen=True)
class _Kept:
    """A network, with what it was asked by and what was the case before and after its loading."""

    key: str
    network: Any
    marks: Mapping[str, object]
    draws: tuple[str, str]
    after: Any


class Networks:
    """Keeps the network of one group of cells."""

    def __init__(self) -> None:
        self._group, self._kept = "", None

    _kept: _Kept | None

    def begin(self, group: str) -> None:
        """Say whose cell comes now; what another group has loaded is dropped.

        Args:
            group: The cell's ``sharing``; empty for what shares nothing.
        """
        if group != self._group or not group:
            self.drop()
        self._group = group

    def drop(self) -> None:
        """Let go of the network."""
        if self._kept is not None:
            self._kept = None
            free()

    def load(self, given: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """The network of some arguments: the one kept, or a new one.

        Args:
            given: All that decides what is loaded.
            make: Loads it.
        """
        key = _key(given)
        if not self._group or key is None:
            self.drop()
            return make()
        if self._kept is not None and self._kept.key == key and _usable(self._kept):
            log.info("the model is loaded already: this cell shares it")
            return self._kept.network
        self.drop()
        before = _draws()
        network = make()
        self._kept = _keep(key, network, before)
        return network


def free() -> None:
    """Give back the memory of what nobody needs any longer."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _keep(key: str, network: Any, before: str) -> _Kept | None:
    try:
        found = marks(network)
    except (RuntimeError, TypeError, KeyError, NotImplementedError) as cause:
        log.warning(
            "the model is not shared with other cells: what becomes of it cannot be followed (%s)",
            one_line(cause, 200),
        )
        return None
    return _Kept(key, network, found, (before, _draws()), _states())


def _usable(kept: _Kept) -> bool:
    """Whether a network is as it was loaded; random numbers then go on as after its loading."""
    now = marks(kept.network)
    if changed := sorted(
        k for k in now.keys() | kept.marks.keys() if now.get(k) != kept.marks.get(k)
    ):
        log.warning(
            "the model is loaded anew: an earlier cell has changed %s%s",
            ", ".join(changed[:3]),
            f" and {len(changed) - 3} more" if len(changed) > 3 else "",
        )
        return False
    before, after = kept.draws
    if before == after:
        return True
    if _draws() != before:
        log.warning("the model is loaded anew: loading draws random numbers, of another seed here")
        return False
    _restore(kept.after)
    return True


def _key(given: Mapping[str, Any]) -> str | None:
    """Arguments as text, with the files behind local folders; None where that does not tell all."""
    text = repr(sorted(given.items()))
    if " at 0x" in text:  # an object that does not say what is in it
        return None
    files = {name: _files(value) for name, value in given.items() if isinstance(value, str)}
    return text + json.dumps(files, sort_keys=True)


def _files(name: str) -> list[tuple[str, int, int]]:
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        return []
    found = [(path, path.stat()) for path in sorted(folder.iterdir())]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def marks(network: Any) -> dict[str, object]:
    """All by which a network could answer otherwise than when it was loaded.

    Args:
        network: A torch module.

    Raises:
        RuntimeError, TypeError, KeyError, NotImplementedError: A tensor is of a kind that cannot be
            looked into.
    """
    found: dict[str, object] = {}
    for name, module in network.named_modules():
        found[name] = (type(module), id(module))
        for key, value in vars(module).items():
            found[f"{name}.{key}"] = _mark(value)
    for kind in ("named_parameters", "named_buffers"):
        for name, tensor in getattr(network, kind)():
            found[name] = (found.get(name), _content(tensor))
    for name in ("config", "generation_config"):
        own: Any = getattr(network, name, None)
        if hasattr(own, "to_dict"):
            found[name] = (repr(own.to_dict()), getattr(own, "_attn_implementation", None))
    return found


def _mark(value: object) -> object:
    if isinstance(value, _PLAIN):
        return (type(value), value)
    if isinstance(value, dict):
        return tuple((repr(key), id(one)) for key, one in value.items())
    if isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(v, _PLAIN) for v in value
    ):
        return repr(value)
    return (type(value), id(value))


def _content(tensor: Any) -> object:
    """A tensor's kind, place, and the sum of its numbers' bits."""
    facts = (id(tensor), tensor.dtype, tuple(tensor.shape), str(tensor.device), tensor._version)
    if tensor.device.type == "meta":
        return facts
    import torch

    whole = getattr(torch, _BY_SIZE[tensor.element_size()])
    bits = tensor.detach().contiguous().view(whole)
    return (*facts, tensor.requires_grad, tensor.grad is None, int(bits.sum(dtype=torch.int64)))


def _states() -> dict[str, Any]:
    """Where the global streams of random numbers stand."""
    import numpy as np
    import torch

    found: dict[str, Any] = {
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    cuda: Any = torch.cuda
    if cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def _draws() -> str:
    return repr({name: _plain(state) for name, state in _states().items()})


def _plain(state: Any) -> Any:
    if isinstance(state, (list, tuple)):
        return [_plain(one) for one in state]
    return state.tolist() if hasattr(state, "tolist") else state


def _restore(states: Mapping[str, Any]) -> None:
    import numpy as np
    import torch

    random.setstate(states["random"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
