"""What vLLM runs in each of its processes, by its entry-point group ``vllm.general_plugins``.

Three of its methods get one step more, which does nothing for an engine without parts:

    InputProcessor.__init__          afterwards the parts check the engine, and a server is guarded
    WorkerWrapperBase.load_model     afterwards the parts change the model; it is compiled later
    InputProcessor.process_inputs    afterwards the parts check the request

The second is each executor's way to a worker: in its process, in another one, or through Ray. What
the last raises ends one request; the server answers it with status 400. A vLLM in which one of them
has moved is left as it is, and runs; an engine of it that asks for a part is refused.
"""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any

from harness.engine.guard import guard, not_handed_on
from harness.engine.parts import Asked, parts_of
from harness.engine.seams import need
from harness.errors import HarnessError, one_line

_DONE = "_paperharness"  # the mark on a method that has its step

_moved: list[str] = []
"""What this vLLM has not got."""


def register() -> None:
    """Give vLLM's methods their step; once, however often it is called."""
    _moved.clear()
    _step("vllm.v1.worker.worker_base", "WorkerWrapperBase", "load_model", "init_worker", _loading)
    front = "vllm.v1.engine.input_processor"
    _step(front, "InputProcessor", "__init__", "process_inputs", _opening)
    _step(front, "InputProcessor", "process_inputs", "process_inputs", _processing)


def _step(module: str, owner: str, name: str, known: str, make: Any) -> None:
    """Put a step behind a method; ``known`` is one that the class has by itself."""
    try:
        found = getattr(import_module(module), owner)
        need(found, known)
    except (ImportError, AttributeError, HarnessError) as cause:
        _moved.append(one_line(cause))
        return
    stock = getattr(found, name, None)
    if not hasattr(stock, _DONE):
        made = make(stock)
        setattr(made, _DONE, True)
        setattr(found, name, made)


def _parts(config: Any) -> list[Asked]:
    found = parts_of(config)
    if found and _moved:
        raise HarnessError(_moved[0])
    return found


def _opening(stock: Any) -> Any:
    @wraps(stock)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        found = _parts(self.vllm_config)
        for one in found:
            one.part.open(self, one.settings)
        if found:
            guard(found)

    return init


def _loading(_stock: Any) -> Any:
    """The wrapper hands every method on to its worker, this one too until now."""

    def load_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        parts = _parts(self.vllm_config)
        found = self.worker.load_model(*args, **kwargs)
        for one in parts:
            one.part.attach(self.worker.model_runner, one.settings)
        return found

    return load_model


def _processing(stock: Any) -> Any:
    @wraps(stock)
    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = stock(self, *args, **kwargs)
        for one in _parts(self.vllm_config):
            try:
                if not one.part.admit(request, one.settings):
                    not_handed_on(one.name)
            except HarnessError as problem:
                from vllm.exceptions import VLLMValidationError  # others end with status 500

                raise VLLMValidationError(f"{one.name}: {problem}") from problem
        return request

    return process_inputs
