"""vllm-steered on vLLM's model runner V2, whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.vllm
def test_steering_on_model_runner_v2() -> None:
    """Equal to hf-steered: mixed batches, chunks of prompts, kept prefixes, interventions."""
    chosen = "32_requests or chunks or kept_prefixes or interventions_share"
    command = [sys.executable, str(TESTS / "model_runner_v2.py"), "-k", chosen]
    command.append(str(TESTS / "axbench" / "models" / "test_vllm_steering.py"))
    free = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=TESTS.parent, env=free, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.startswith("....")  # a point a test
