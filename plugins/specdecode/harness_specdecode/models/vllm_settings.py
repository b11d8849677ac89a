"""What ``vllm-speculative`` makes of its arguments, before an engine takes its time to start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from harness import HarnessError
from harness.artefacts.hub import unopened
from harness.engine.worker import WORKER
from harness.models.checkpoints import load_tokenizer
from harness.models.vllm import Kept, refuse_settings
from harness_specdecode.decoding.drafter_sources import (
    EARLY,
    NGRAM,
    NONE,
    check_vocabulary,
    warn_of_size,
)
from harness_specdecode.decoding.drafters import LONGEST_MATCH

NAME = "vllm-speculative"
SUFFIX = "suffix"

# An engine setting that is not supported: the value it must keep, and why.
_KEPT: Kept = {
    "speculative_config": (None, "it is made of drafter= and gamma="),
    "data_parallel_size": (1, "drafts are counted in one engine; use tensor_parallel_size"),
    "disable_log_stats": (False, "drafts are counted by vLLM's statistics"),
}
_KEPT_INVARIANT: Kept = {
    "pipeline_parallel_size": (
        1,
        "tokens are picked where all scores are; use tensor_parallel_size",
    ),
    "draft_sample_method": (None, "drafts are coupled to the target"),
    "enable_batch_sharded_sampling": (False, "each rank would pick for some requests alone"),
    "logits_processors": (None, "scores are made by the invariant sampler"),
    "watermark_config": (None, "it draws tokens itself"),
    "worker_extension_cls": (WORKER, "it is taken"),
}


def check(kwargs: Mapping[str, Any], *, invariant: bool) -> None:
    """Refuse settings of the engine that cannot be.

    Args:
        kwargs: The engine's settings.
        invariant: Whether tokens are drawn drafter-invariantly.

    Raises:
        HarnessError: A setting is not supported.
    """
    refuse_settings(NAME, kwargs, _KEPT)
    if invariant:
        refuse_settings(f"{NAME} with invariant=true", kwargs, _KEPT_INVARIANT)


def engine_settings(kwargs: Mapping[str, Any], *, invariant: bool) -> dict[str, Any]:
    """What the engine gets beside the target and the drafter.

    Args:
        kwargs: The engine's settings.
        invariant: Whether tokens are drawn drafter-invariantly.
    """
    found = dict(kwargs) | {"disable_log_stats": False}
    return found | {"worker_extension_cls": WORKER} if invariant else found


def speculative_config(
    drafter: str, gamma: int, *, revision: str | None = None, sampling: str | None = None
) -> dict[str, Any] | None:
    """The engine's ``speculative_config``; None for plain decoding.

    Args:
        drafter: ``none``, ``ngram``, ``suffix``, a model id or path, or ``testbed:NAME``.
        gamma: Tokens drafted a round, at most.
        revision: The drafter's revision on the hub.
        sampling: vLLM's ``draft_sample_method`` for a model.

    Raises:
        HarnessError: vLLM has no such drafter, or lacks what it needs.
    """
    from harness.testbed import resolve

    length = {"num_speculative_tokens": gamma}
    if drafter == NONE:
        return None
    if drafter == NGRAM:
        reach = {"prompt_lookup_min": 1, "prompt_lookup_max": LONGEST_MATCH}
        return {"method": NGRAM} | length | reach
    if drafter == SUFFIX:
        if find_spec("arctic_inference") is None:
            raise HarnessError(
                "drafter=suffix is drawn up by Arctic Inference, which is not installed: pip "
                "install arctic-inference, or take drafter=ngram"
            )
        return {"method": SUFFIX} | length
    if drafter.startswith(EARLY):
        raise HarnessError(
            f"drafter={drafter}: vLLM cannot leave a model early; give a model, ngram, suffix or "
            f"none, or use --model hf-speculative"
        )
    options = {"revision": revision, "draft_sample_method": sampling}
    given = {name: value for name, value in options.items() if value is not None}
    return {"method": "draft_model", "model": resolve(drafter)} | length | given


def drafter_size(
    drafter: str, config: Mapping[str, Any] | None, path: str, kwargs: Mapping[str, Any]
) -> int | None:
    """Number of a drafting model's parameters, its vocabulary checked.

    Args:
        drafter: As the user gave it.
        config: What ``speculative_config`` made of it.
        path: The target's id or path.
        kwargs: The engine's settings.

    Returns:
        None where no model of its own drafts.

    Raises:
        HarnessError: It cannot be read, or has another vocabulary than the target.
    """
    if config is None or "model" not in config:
        return None
    target, tokenizer = _read(f"model {path}", path, kwargs, kwargs.get("revision"))
    size, theirs = _read(f"drafter {drafter}", config["model"], kwargs, config.get("revision"))
    check_vocabulary(drafter, theirs, tokenizer)
    warn_of_size(drafter, size, target)
    return size


def _read(name: str, path: str, kwargs: Mapping[str, Any], revision: str | None) -> tuple[int, Any]:
    """Number of parameters and tokenizer of a checkpoint; no weights are read."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options: dict[str, Any] = {"trust_remote_code": kwargs.get("trust_remote_code", False)}
    options |= {"revision": revision or "main"}
    try:
        config = AutoConfig.from_pretrained(path, **options)
        tokenizer = load_tokenizer(path, **options)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, AttributeError, AssertionError, RuntimeError) as cause:
        raise HarnessError(f"{name} cannot be loaded: {unopened(cause, path)}") from cause
    _check_heads(name, config.get_text_config())
    return model.num_parameters(), tokenizer


def _check_heads(name: str, config: Any) -> None:
    """Refuse what kills vLLM's engine on a CPU with its first request."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    known = CPUAttentionBackend.get_supported_head_sizes()
    if width not in known:
        raise HarnessError(
            f"{name}: on a CPU vLLM has no attention for heads of {width} numbers, only for "
            f"{', '.join(map(str, known))}"
        )


def temperature_of(options: Mapping[str, Any]) -> float:
    """A request's temperature as lm-eval's ``vllm`` reads it; 1, vLLM's own, if it gives none."""
    return float(normalize_gen_kwargs(dict(options)).get("temperature", 1.0))


def check_draws(options: Mapping[str, Any]) -> None:
    """Refuse to draw tokens from drafts where vLLM does it wrongly: on a CPU, in vLLM 0.32.

    What gives each drafted token its request's temperature, top-k and top-p
    (``cpu_triton_utils._expand_kernel_impl``) writes into a copy there, and ``RejectionSampler``
    goes on with memory that was never set (vllm-project/vllm issue 55005). Greedy requests and the
    invariant sampler do not pass it.

    Args:
        options: A request's, without ``invariant`` and with a drafter.

    Raises:
        HarnessError: The request is drawn, and this vLLM would draw it wrongly.
    """
    if temperature_of(options) > 0 and not _expands():
        raise HarnessError(
            "on a CPU this vLLM draws wrongly from drafts above temperature 0 (vllm-project/vllm "
            "issue 55005): give invariant=true, drafter=none or temperature 0"
        )


@cache
def _expands() -> bool:
    """Whether vLLM gives drafted tokens their request's temperature."""
    import torch
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return True
    current_platform.import_kernels()
    from vllm.utils import cpu_triton_utils

    expanded, ends = torch.zeros(2), torch.tensor([2])
    cpu_triton_utils._expand_kernel_impl(expanded, torch.tensor([0.5]), ends, 0, 1, 32)
    return expanded.tolist() == [0.5, 0.5]
