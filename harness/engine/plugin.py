"""What vLLM runs in each of its processes, by its entry-point group ``vllm.general_plugins``.

Two of its methods get one step more, which does nothing for an engine without parts:

    WorkerWrapperBase.load_model     afterwards the parts change the model; it is compiled later
    InputProcessor.process_inputs    afterwards the parts check the request

The former is each executor's way to a worker: in its process, in another one, or through Ray. What
the latter raises ends one request; the server answers it with status 400.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from harness.engine.parts import parts_of
from harness.engine.seams import need

_DONE = "_paperharness"  # the mark on a method that has its step


def register() -> None:
    """Give vLLM's methods their step; once, however often it is called.

    Raises:
        HarnessError: This vLLM has not got one of them.
    """
    from vllm.v1.engine.input_processor import InputProcessor
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    need(InputProcessor, "process_inputs")
    _stepped(WorkerWrapperBase, "load_model", _loading)
    _stepped(InputProcessor, "process_inputs", _processing)


def _stepped(owner: Any, name: str, make: Any) -> None:
    stock = getattr(owner, name, None)
    if not hasattr(stock, _DONE):
        made = make(stock)
        setattr(made, _DONE, True)
        setattr(owner, name, made)


def _loading(_stock: Any) -> Any:
    """The wrapper hands every method on to its worker, this one too until now."""

    def load_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = self.worker.load_model(*args, **kwargs)
        for part, settings in parts_of(self.vllm_config):
            part.attach(self.worker.model_runner, settings)
        return found

    return load_model


def _processing(stock: Any) -> Any:
    @wraps(stock)
    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = stock(self, *args, **kwargs)
        for part, settings in parts_of(self.vllm_config):
            part.admit(request, settings)
        return request

    return process_inputs
