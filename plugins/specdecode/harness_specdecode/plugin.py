"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the models, the tasks and the commands."""
    registrar.wrapper(
        "speculative",
        stage="decodes",
        hf="harness_specdecode.models.hf:SpeculativeMixin",
        vllm="harness_specdecode.models.vllm:VLLMSpeculativeMixin",
    )
    registrar.tasks(task_folder("specdecode"))
    registrar.commands(
        "specdecode",
        "harness_specdecode.commands:app",
        help="Speculative decoding: theory beside measurement.",
    )
