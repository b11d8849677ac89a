"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness.hookspecs import Registrar, hookimpl
from harness.host import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the task and the commands."""
    registrar.tasks(task_folder("astral"))
    registrar.commands(
        "astral",
        "harness_astral.commands:app",
        help="ASTRAL: safety test suites with measured coverage.",
    )
