"""What the plugin brings to lm-eval and to the command ``harness``."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the steered models, the judge without calls, the tasks and the commands."""
    registrar.wrapper(
        "steered",
        stage="edits",
        hf="harness_axbench.models.hf:SteeringMixin",
        vllm="harness_axbench.models.vllm:VLLMSteeringMixin",
    )
    registrar.engine("steering", "harness_axbench.engine.part:SteeringPart")
    registrar.model("proxy", "harness_axbench.assessing.proxy:Proxy")
    registrar.tasks(task_folder("axbench"))
    registrar.commands(
        "axbench",
        "harness_axbench.commands:app",
        help="AxBench: steering dictionaries, concept data and reports.",
    )
