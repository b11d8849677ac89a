"""What the plugin brings to lm-eval and to the command ``harness``."""

from __future__ import annotations

from harness import Registrar, hookimpl
from harness.host.task_files import task_folder


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the steered models, the judge without calls, vLLM's part, the tasks and the commands."""
    registrar.wrapper(
        "steered",
        stage="edits",
        hf="harness_axbench.models.hf:SteeringMixin",
        vllm="harness_axbench.models.vllm:VLLMSteeringMixin",
    )
    registrar.engine("steering", "harness_axbench.engine.part:SteeringPart")
    registrar.model("steered-completions", "harness_axbench.models.served:SteeredCompletions")
    registrar.model("steered-chat-completions", "harness_axbench.models.served:SteeredChat")
    registrar.model("proxy", "harness_axbench.assessing.proxy:Proxy")
    registrar.tasks(task_folder("axbench"))
    registrar.commands(
        "axbench",
        "harness_axbench.commands:app",
        help="AxBench: steering dictionaries, concept data and reports.",
    )
