"""What the plugin brings; imports nothing heavy."""

from pathlib import Path

from harness import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the model wrapper and the folder of tasks."""
    registrar.model("hf-majority", "harness_majority.model:MajorityHF")
    registrar.tasks(Path(__file__).parent / "tasks")
