"""The import hook: plugins join lm-eval as its modules are imported.

``harness.pth`` in site-packages is read at every Python start, so it is one line that touches no
file: a finder that waits for the name ``lm_eval`` and then imports this module. From then on each
module named below runs one function of ``harness.host.joining`` right after its own code. The
command ``lm_eval`` ends in one line when it is interrupted, from its first import on. With
``PAPERHARNESS_AUTOLOAD=0`` in the environment lm-eval stays as it is.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ACTIONS = {
    "lm_eval.api.metrics": "join_metrics",
    "lm_eval.config.evaluate_config": "join_config",
    "lm_eval.evaluator_utils": "join_results",
    "lm_eval.loggers.evaluation_tracker": "join_samples",
    "lm_eval.models": "join_models",
    "lm_eval.tasks.manager": "join_tasks",
}


class _Finder:
    """A finder that lets the others find, and adds one call after the module's own code."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _ACTIONS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                _call_after(spec.loader, _ACTIONS[name])
                return spec
        return None


def _call_after(loader: Any, action: str) -> None:
    """Let a loader run a function of ``harness.host.joining`` once it has executed its module."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        from harness.host import joining

        getattr(joining, action)(module)

    loader.exec_module = exec_module


def switched_on() -> bool:
    """Whether plugins may join lm-eval in this process."""
    return os.environ.get("PAPERHARNESS_AUTOLOAD", "1") != "0"


def in_place() -> bool:
    """Whether ``harness.pth`` was read at this Python's start."""
    return any(getattr(f, "__name__", "") == "PaperharnessAutoload" for f in sys.meta_path)


def _is_the_command() -> bool:
    """Whether this process runs ``lm_eval`` or ``python -m lm_eval``, by whatever launcher."""
    script = sys.argv[0].rpartition(os.sep)[2] if sys.argv else ""
    module = ("-m", "lm_eval") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    return module or script in ("lm_eval", "lm-eval")


if switched_on() and _Finder not in sys.meta_path:
    sys.meta_path.insert(0, _Finder)
    if _is_the_command():
        from harness.host import edge

        edge.show_own_errors_in_one_line()
        edge.sigterm_interrupts()
