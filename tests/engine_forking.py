"""Engines of vLLM and their commands, forked from one process that has imported it.

An import of vLLM takes eight seconds, and each engine in a process of its own begins with one. That
process is Python's own fork server, which has imported nothing of the project and of lm-eval.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from forking import Forking, child

_MODULES = (
    *("torch", "transformers", "accelerate", "datasets", "pandas", "scipy.stats", "peft"),
    *("sklearn.metrics", "evaluate", "sacrebleu", "networkx", "pydantic", "rich.console"),
    *("vllm.entrypoints.llm", "vllm.entrypoints.openai.api_server", "vllm.v1.engine.core"),
    *("vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama"),
    *("vllm.compilation.backends", "torch._inductor.compile_fx"),
)


class EngineForking(Forking):
    """Starts commands that import the project and lm-eval anew, but not vLLM.

    Args:
        folder: Where their output goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_MODULES))
        self._started: dict[int, Any] = {}

    def ask(self, **order: object) -> int | None:
        """Start a command, or ask for its exit status."""
        if "words" in order:
            process = self._context.Process(target=child, args=(order | {"bare": True},))
            process.start()
            assert process.pid is not None
            self._started[process.pid] = process
            return process.pid
        pid = order.get("poll") or order["wait"]
        process = self._started[pid]  # type: ignore[index]
        if "wait" in order:
            process.join()
        return process.exitcode

    def close(self) -> None:
        """End the process that forks; by itself it would take down all that it has imported."""
        server = forkserver._forkserver  # type: ignore[attr-defined]
        if server._forkserver_pid is not None:
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


@contextmanager
def engines_are_forked() -> Iterator[None]:
    """While this lasts, engines that this process starts in processes of their own are forked."""
    from vllm.model_executor.models import registry
    from vllm.v1.engine import utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "get_mp_context", _Context)
        patch.setattr(registry, "_run_in_subprocess", lambda asked: asked())
        yield


class _Process(ForkServerProcess):
    """With the environment of the process that starts it, as of the moment when it does."""

    def start(self) -> None:
        self._target = _Then(self._target, dict(os.environ))  # type: ignore[attr-defined]
        super().start()


class _Then:
    """A function in that environment; its process forks others, as vLLM's does on GPUs."""

    def __init__(self, target: Callable[..., object], environment: Mapping[str, str]) -> None:
        self._target, self._environment = target, environment

    def __call__(self, *args: object, **kwargs: object) -> None:
        gc.freeze()  # as a command does
        os.environ.clear()
        os.environ.update(self._environment)
        from vllm.v1.executor import multiproc_executor

        multiproc_executor.get_mp_context = partial(multiprocessing.get_context, "fork")
        self._target(*args, **kwargs)


class _Context(ForkServerContext):
    Process = _Process  # type: ignore[assignment]
