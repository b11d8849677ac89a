"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness.hookspecs import Registrar, hookimpl
from harness.host import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the fact checkers, the tasks and the commands."""
    registrar.model("hf-fact-checker", "harness_factcg.hf_model:FactCheckerHF")
    registrar.model("vllm-fact-checker", "harness_factcg.vllm_model:FactCheckerVLLM")
    registrar.tasks(task_folder("factcg"))
    registrar.commands(
        "factcg",
        "harness_factcg.commands:app",
        help="FactCG: fact checks, CG2C data and training.",
    )
