"""Ways of vLLM's engine that its CPU platform does not take by itself, for tests.

    asynchronous    the next step is laid out before the last one's tokens are known: the host holds
                    −1 in their place, though what runs on a CPU has run when a call returns
    v2              model runner V2, whose Triton kernels run in Triton's own interpreter

Both must be called before an engine starts, in a process of their own; V2 before vLLM is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine_forking import EngineForking


def take(*ways: str) -> None:
    """Let the engines of this process run in some ways; each is one of this module's functions."""
    for way in ways:
        {"asynchronous": asynchronous, "v2": v2}[way]()


def started(vllm: EngineForking, module: str, *words: str) -> None:
    """Run a module that takes ways as its last words, to its end."""
    if "v2" in words:
        command = [sys.executable, "-m", module, *words]
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    else:
        done = vllm.run("-m", module, *words)
    assert done.returncode == 0, done.stderr[-3000:]


def v2() -> None:
    """Model runner V2, as ``model_runner_v2`` has it for tests inside its process."""
    from model_runner_v2 import INTERPRETED, Driver

    os.environ.update(INTERPRETED)
    from triton.backends import backends

    backends["cpu"] = SimpleNamespace(driver=Driver, compiler=None)  # type: ignore[assignment]


def asynchronous() -> None:
    """Asynchronous scheduling, where an engine's settings ask for it."""
    import torch
    from vllm.platforms.cpu import CpuPlatform

    stock = CpuPlatform.check_and_update_config.__func__

    def keeping(cls: Any, config: Any) -> None:
        asked = config.scheduler_config.async_scheduling
        stock(cls, config)
        config.scheduler_config.async_scheduling = asked

    CpuPlatform.check_and_update_config = classmethod(keeping)
    torch.Event = _Event  # type: ignore[misc, assignment]
    torch.cuda.current_stream = lambda *_: None  # type: ignore[assignment, return-value]


class _Event:
    """Of work that is done at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def record(self, *args: Any) -> None: ...

    def wait(self, *args: Any) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True
