"""The one extension of vLLM's workers that all parts of a model share.

vLLM mixes one class into its workers (``worker_extension_cls``). Through ``Worker`` each part calls
functions of its own there, given the worker, and keeps what they need in ``harness_parts``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from harness.errors import HarnessError

WORKER = "harness.engine.worker.Worker"


class Worker:
    """Mixed into vLLM's worker."""

    harness_parts: dict[str, Any]
    """What the parts keep, each under a name of its own."""

    def harness_call(self, target: str, *args: Any) -> tuple[str | None, Any]:
        """Call a function with this worker before its arguments.

        Args:
            target: ``package.module:function``.
            *args: Its further arguments; they travel between processes.

        Returns:
            What is wrong, if anything is (exceptions lose their type on the way to the caller), and
            what the function returns.
        """
        if not hasattr(self, "harness_parts"):
            self.harness_parts = {}
        module, _, name = target.partition(":")
        try:
            return None, getattr(import_module(module), name)(self, *args)
        except HarnessError as problem:
            return str(problem), None
