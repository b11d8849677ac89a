"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the fact checkers, the tasks and the commands."""
    registrar.model("hf-fact-checker", "harness_factcg.models.hf:FactCheckerHF")
    registrar.wrapper(
        "fact-checker", stage="answers", vllm="harness_factcg.models.vllm:VLLMFactCheckingMixin"
    )
    registrar.tasks(task_folder("factcg"))
    registrar.commands(
        "factcg",
        "harness_factcg.commands:app",
        help="FactCG: fact checks, CG2C data and training.",
    )
