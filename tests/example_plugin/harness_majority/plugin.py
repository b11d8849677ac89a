"""What the plugin brings; imports nothing heavy."""

from pathlib import Path

from harness import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the parts of models, the tasks with what they are measured by, and the commands."""
    registrar.wrapper(
        "majority",
        stage="answers",
        hf="harness_majority.model:MajorityMixin",
        vllm="harness_majority.model:MajorityMixin",
    )
    registrar.wrapper("damped", stage="edits", hf="harness_majority.kinds:DampedMixin")
    registrar.wrapper("certain", stage="decodes", hf="harness_majority.kinds:CertainMixin")
    registrar.tasks(Path(__file__).parent / "tasks")
    registrar.filter("first_word", "harness_majority.filters:FirstWord")
    for name, aggregation in (("vote_share", "mean_share"), ("vote_share_ci95", "mean_share_ci95")):
        registrar.aggregation(aggregation, f"harness_majority.metrics:{aggregation}")
        registrar.metric(
            name,
            "harness_majority.metrics:vote_share",
            aggregation=aggregation,
            higher_is_better=True,
        )
    registrar.commands(
        "majority", "harness_majority.commands:app", help="Self-consistency: rows that are asked."
    )
