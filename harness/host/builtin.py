"""What the host itself brings to lm-eval, registered the way any plugin does it."""

from __future__ import annotations

from harness.host.hookspecs import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the testbed's deterministic judge and writer, and its general task."""
    registrar.model("testbed-judge", "harness.testbed.assistants.judge_model:TestbedJudge")
    registrar.model("testbed-writer", "harness.testbed.assistants.writer_model:TestbedWriter")
    registrar.tasks(task_folder("testbed"))
