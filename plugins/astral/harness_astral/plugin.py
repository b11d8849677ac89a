"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the models, the task and the commands."""
    registrar.model("astral-chat", "harness_astral.models.chat:ToldChat")
    registrar.model("astral-openai-chat", "harness_astral.models.chat:ToldOpenAIChat")
    registrar.tasks(task_folder("astral"))
    registrar.commands(
        "astral",
        "harness_astral.commands:app",
        help="ASTRAL: safety test suites with measured coverage.",
    )
