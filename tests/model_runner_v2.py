"""Run tests on vLLM's model runner V2, without a GPU.

    python tests/model_runner_v2.py PYTEST-ARGUMENTS

That runner is written in Triton, for which vLLM knows CPUs only by a backend of their own. Triton's
interpreter stands in for it: vLLM's whole runner, its own kernels and all, as slow as it is. The
engine runs in this process and does not compile.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

INTERPRETED = {
    "TRITON_INTERPRET": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


class Driver:
    """What vLLM asks of a Triton backend."""

    @staticmethod
    def is_active() -> bool:
        return True


class Eager:
    """Lets the tests' engines start without compilation."""

    @staticmethod
    def pytest_collection_modifyitems(items: list[Any]) -> None:
        for item in items:
            item.module.ENGINE["enforce_eager"] = True


if __name__ == "__main__":
    os.environ.update(INTERPRETED)
    from triton.backends import backends

    backends["cpu"] = SimpleNamespace(driver=Driver, compiler=None)
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Eager()]))
