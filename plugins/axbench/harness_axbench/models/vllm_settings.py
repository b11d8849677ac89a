"""What ``vllm-steered`` cannot be run with, said before an engine takes its time to start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from harness import HarnessError
from harness.artefacts.hub import unopened
from harness.engine.worker import WORKER
from harness.models.vllm import Kept, refuse_settings
from harness.testbed import resolve
from harness_axbench.dictionary.kinds import VECTORS
from harness_axbench.steering.plan import Plan

NAME = "vllm-steered"

# An engine setting that is not supported: the value it must keep, and why.
_KEPT: Kept = {
    "data_parallel_size": (1, "use tensor_parallel_size, or several runs"),
    "prefill_context_parallel_size": (1, "tokens of a request are split"),
    "decode_context_parallel_size": (1, "tokens of a request are split"),
    "enable_dbo": (False, "steps are split"),
    "kv_sharing_fast_prefill": (False, "later blocks run on some of a step's tokens"),
    "speculative_config": (None, "use vllm-steered+speculative, with drafter="),
    "kv_transfer_config": (None, "computed prefixes of other engines are not steered alike"),
    "enable_lora": (False, "an adapter moves the activations that directions were read from"),
    "lora_local_path": (None, "an adapter moves the activations that directions were read from"),
    "worker_extension_cls": (WORKER, "it is taken"),
}


def check(plan: Plan, pretrained: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse what cannot be steered.

    Args:
        plan: What the run steers with.
        pretrained: The model's id or path, or ``testbed:NAME``.
        kwargs: The engine's settings.

    Raises:
        HarnessError: The method, the model or a setting is not supported.
    """
    check_method(plan, NAME)
    refuse_settings(NAME, kwargs, _KEPT)
    if os.environ.get("VLLM_USE_V1") == "0":
        raise HarnessError(f"{NAME} needs vLLM's engine V1; unset VLLM_USE_V1")
    _check_shape(plan, resolve(pretrained), kwargs)


def check_method(plan: Plan, model: str) -> None:
    """Refuse a method that does not steer by directions.

    Args:
        plan: What the run steers with.
        model: What the user calls the model.

    Raises:
        HarnessError: It does not.
    """
    if not plan.steers:
        raise HarnessError(f"method={plan.method} cannot steer; it is for axbench_detect")
    if plan.kind != VECTORS:
        raise HarnessError(
            f"{model} steers by directions and method={plan.method} has none; use --model "
            "hf-steered"
        )


def _check_shape(plan: Plan, path: str, kwargs: Mapping[str, Any]) -> None:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            path,
            revision=kwargs.get("revision"),
            trust_remote_code=kwargs.get("trust_remote_code", False),
        ).get_text_config()
    except (OSError, ValueError) as cause:
        raise HarnessError(f"model {path} cannot be loaded: {unopened(cause, path)}") from cause
    plan.found.check_fits(hidden_size=config.hidden_size, n_layers=config.num_hidden_layers)
