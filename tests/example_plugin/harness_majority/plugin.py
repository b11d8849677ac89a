"""What the plugin brings; imports nothing heavy."""

from pathlib import Path

from harness import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the parts of models and the folder of tasks."""
    registrar.wrapper(
        "majority",
        stage="answers",
        hf="harness_majority.model:MajorityMixin",
        vllm="harness_majority.model:MajorityMixin",
    )
    registrar.wrapper("damped", stage="edits", hf="harness_majority.kinds:DampedMixin")
    registrar.wrapper("certain", stage="decodes", hf="harness_majority.kinds:CertainMixin")
    registrar.tasks(Path(__file__).parent / "tasks")
