"""The base of a wrapper of lm-eval's ``vllm``: each request of the engine with its prompt."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.engine.parts import KEY
from harness.errors import HarnessError
from harness.models.prompt_tokens import PromptsInTokens
from harness.models.requests import Prompt

_SLICE = 4  # with response_cache, requests a call of the engine, in multiples of its batch


Kept = Mapping[str, tuple[Any, str]]
"""Settings of the engine that a part does not support: the value that each must keep, and why."""


def refuse_settings(model: str, given: Mapping[str, Any], kept: Kept) -> None:
    """Refuse settings of the engine before it takes its time to start.

    Raises:
        HarnessError: One has another value than it must keep.
    """
    for name, (value, reason) in kept.items():
        found = given.get(name, value)
        if found != value and not (value in (None, False) and not found):
            raise HarnessError(f"{model} does not run with {name}={found}: {reason}")


def with_part(name: str, settings: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's settings, with a part of its own (``engine.parts``).

    Args:
        name: Of the part, as its plugin gave it.
        settings: Of the part.
        kwargs: The engine's settings.
    """
    config = dict(kwargs.get("additional_config") or {})
    config[KEY] = dict(config.get(KEY, {})) | {name: dict(settings)}
    return dict(kwargs) | {"additional_config": config}


@dataclass
class Asked:
    """What the engine is asked: parts add to it.

    Attributes:
        tokens: The prompt's.
        prompt: None for what lm-eval asks besides, such as a window of a long text.
        sampling: vLLM's ``SamplingParams``, of this request alone.
        scores: Whether the tokens themselves are scored, and nothing is generated.
        salts: What keeps the request's computed prefixes apart from others'.
    """

    tokens: list[int]
    prompt: Prompt | None
    sampling: Any
    scores: bool
    salts: list[str] = field(default_factory=list)

    def send(self, key: str, value: Any) -> None:
        """Let something travel with the request to the workers."""
        self.sampling.extra_args = (self.sampling.extra_args or {}) | {key: value}


class VLLMWrapper(PromptsInTokens):
    """Put in front of lm-eval's ``VLLM`` or a subclass of it."""

    cannot_load = "vLLM cannot run {}"
    no_matter = frozenset(
        {
            "async_scheduling",
            "block_size",
            "disable_log_stats",
            "enable_prefix_caching",
            "gpu_memory_utilization",
            "kv_cache_memory_bytes",
            "max_num_batched_tokens",
            "max_num_seqs",
            "model",
            "seed",  # of sampled answers, each of which knows it
        }
    )
    model: Any
    model_args: dict[str, Any]
    batch_size: Any
    data_parallel_size: int
    lora_request: Any

    def __init__(self, pretrained: str, **kwargs: Any) -> None:
        super().__init__(pretrained, **kwargs)
        if self.answers.store is not None and self.batch_size == "auto":
            self.batch_size = _SLICE * self.engine_config.scheduler_config.max_num_seqs

    @property
    def engine_config(self) -> Any:
        """VLLM's own configuration."""
        return self.model.llm_engine.vllm_config

    @property
    def on_cpu(self) -> bool:
        """Whether the engine runs on a CPU."""
        return bool(self.engine_config.device_config.device_type == "cpu")

    def in_workers(self, target: str, *args: Any) -> list[Any]:
        """Call a function in each of the engine's workers (see ``engine.worker.Worker``).

        Raises:
            HarnessError: The function has raised one.
        """
        found = self.model.collective_rpc("harness_call", args=(target, *args))
        for problem, _ in found:
            if problem is not None:
                raise HarnessError(problem)
        return [value for _, value in found]

    def _settings(self) -> dict[str, str]:
        engine = {k: v for k, v in self.model_args.items() if k not in VLLMWrapper.no_matter}
        engine |= {"engine": "vllm", "dtype": self.engine_config.model_config.dtype}
        return super()._settings() | {key: str(value) for key, value in engine.items()}

    def seed(self) -> int:
        return int(self.model_args["seed"])

    # What a part may do; each asks super() too

    def prepare(self, asked: Sequence[Asked]) -> None:
        """Add to what the engine is asked."""

    def finished(self, asked: Sequence[Asked], outputs: Sequence[Any]) -> None:
        """Take note of what the engine has given."""

    # How lm-eval asks the engine

    def tok_encode(self, string: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
        found = super().tok_encode(string, *args, **kwargs)
        if not args and kwargs.get("add_special_tokens") is None and len(found):
            first = found if isinstance(string, str) else found[0]
            self.warn_of_bos(self.engine_config.model_config.hf_config, first)
        return found

    def _model_generate(
        self,
        requests: list[list[int]],
        generate: bool = False,
        sampling_params: Any = None,
    ) -> Any:
        """Run the engine; a request's tokens are ``PromptTokens`` where its prompt is known."""
        if self.data_parallel_size > 1:
            return super()._model_generate(requests, generate, sampling_params)
        from vllm import SamplingParams, TokensPrompt

        scores = not generate or sampling_params is None
        if scores:
            sampling_params = [
                SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False)
                for _ in requests
            ]
        asked = [
            Asked(list(tokens), getattr(tokens, "prompt", None), sampling, scores)
            for tokens, sampling in zip(requests, sampling_params, strict=True)
        ]
        self.prepare(asked)
        prompts = [TokensPrompt(prompt_token_ids=one.tokens) for one in asked]
        for prompt, one in zip(prompts, asked, strict=True):
            if one.salts:
                prompt["cache_salt"] = " ".join(one.salts)
        outputs = self.model.generate(
            prompts,
            sampling_params=[one.sampling for one in asked],
            # vLLM divides by a bar's time, and one that TQDM_DISABLE switches off has none
            use_tqdm=self.batch_size == "auto" and not os.environ.get("TQDM_DISABLE"),
            lora_request=self.lora_request,
        )
        self.finished(asked, outputs)
        return outputs
