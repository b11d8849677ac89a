"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the model, the tasks and the commands."""
    registrar.wrapper("distilled", stage="answers", hf="harness_taid.models.hf:DistilledMixin")
    registrar.tasks(task_folder("taid"))
    registrar.commands(
        "taid", "harness_taid.commands:app", help="TAID: students distilled from teachers."
    )
