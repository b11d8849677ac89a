"""What the host itself brings to lm-eval, registered the way any plugin does it."""

from __future__ import annotations

from harness.host.hookspecs import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the testbed's deterministic judge and writer."""
    registrar.model("testbed-judge", "harness.testbed.assistants.judge_model:TestbedJudge")
    registrar.model("testbed-writer", "harness.testbed.assistants.writer_model:TestbedWriter")
