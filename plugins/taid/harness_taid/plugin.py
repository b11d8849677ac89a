"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness.hookspecs import Registrar, hookimpl
from harness.host import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the model, the tasks and the commands."""
    registrar.model("hf-distilled", "harness_taid.hf_model:DistilledHF")
    registrar.tasks(task_folder("taid"))
    registrar.commands(
        "taid", "harness_taid.commands:app", help="TAID: students distilled from teachers."
    )
