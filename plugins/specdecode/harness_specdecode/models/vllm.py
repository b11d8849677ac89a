"""``vllm-speculative``: lm-eval's ``vllm`` with vLLM's own speculative decoding.

    lm_eval --model vllm-speculative --model_args pretrained=M,drafter=D,gamma=5 --tasks …

vLLM drafts and checks (Leviathan et al. 2023): answers are distributed as the target's, and which
ones come depends on the drafter. With ``invariant=true`` they do not: a sampler inside vLLM's
workers (``vllm_worker``) draws each token as the target with the shared noise would (Daliri, Musco
and Suresh 2024), for the same seed the one that ``hf-speculative`` draws, up to rounding. Greedy
answers are those of the target either way.

What is counted comes from vLLM's metrics, which know the engine and not the request: an answer's
trace has its own tokens and seconds, and a share, by tokens, of what the batch drafted.

Deviations from ``hf-speculative``: options that are not given have vLLM's defaults (no top-k), and
the model's generation_config.json gives none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from harness import Completion, HarnessError, VLLMWrapper
from harness.errors import one_line
from harness.models.vllm import Asked
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.arguments import NO_USE_CACHE, check_gamma
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.settings import check_temperature, settings_of
from harness_specdecode.models.vllm_counts import DraftCounts, added, share
from harness_specdecode.models.vllm_sampler import Drawn
from harness_specdecode.models.vllm_settings import (
    NAME,
    check,
    check_draws,
    drafter_size,
    engine_settings,
    speculative_config,
    temperature_of,
)

log = logging.getLogger(__name__)

_WORKER = "harness_specdecode.models.vllm_worker"
_DEFAULTS = SimpleNamespace(top_k=0)  # vLLM's, where transformers has others
_ENGINE_OPTIONS = (  # of a request, without a say in which token is drawn
    "ignore_eos",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
)


class VLLMSpeculativeMixin(VLLMWrapper):
    """Speeds up lm-eval's ``VLLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: The target: model id or path, or ``testbed:NAME``.
        drafter: Model id or path, ``testbed:NAME``, ``ngram``, ``suffix`` or ``none``.
        drafter_revision: The drafter's revision on the hub.
        gamma: Tokens drafted a round, at most.
        draft_sample_method: How a drafting model draws, by vLLM's own name: ``greedy`` (its
            default) or ``probabilistic``, which is accepted more often above temperature 0. Not
            with ``invariant``.
        invariant: Whether answers are to be the same with any drafter and γ.
        seed: Of the noise, and of vLLM's own draws.
        **kwargs: As for ``VLLM``, and ``response_cache``.

    Raises:
        HarnessError: A model cannot be loaded or decoded this way, or an argument or a setting of
            the engine is not supported.
    """

    no_use_cache = NO_USE_CACHE
    no_matter = frozenset({"drafter", "gamma", "invariant", "seed"})  # they are in the identity

    def __init__(
        self,
        pretrained: str,
        *,
        drafter: str | None = NONE,
        drafter_revision: str | None = None,
        gamma: int = 5,
        draft_sample_method: str | None = None,
        invariant: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        from harness.testbed import resolve

        check_gamma(gamma)
        self.drafter, self.gamma, self.invariant = drafter or NONE, gamma, bool(invariant)
        self.noise_seed = Noise(int(seed)).seed
        check(kwargs | {"draft_sample_method": draft_sample_method}, invariant=self.invariant)
        path = resolve(pretrained)
        config = speculative_config(
            self.drafter, gamma, revision=drafter_revision, sampling=draft_sample_method
        )
        self._drafter_size = drafter_size(self.drafter, config, path, kwargs)
        settings = engine_settings(kwargs, invariant=self.invariant)
        super().__init__(pretrained, seed=self.noise_seed, speculative_config=config, **settings)
        if self.invariant:
            self.in_workers(f"{_WORKER}:make_invariant", self.noise_seed)
        self._totals: dict[str, Any] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self._drawn: dict[str, Any] = {}

    def identity(self) -> dict[str, Any]:
        return super().identity() | {
            "drafter": self.drafter,
            "gamma": self.gamma,
            "invariant": self.invariant,
            "noise_seed": self.noise_seed,
        }

    def labels(self) -> dict[str, str | None]:
        drafting = f", γ {self.gamma}" if self.drafter != NONE else ""
        return super().labels() | {"speculative": f"{self.drafter}{drafting}"}

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model and of the decoding."""
        from vllm import __version__

        found: dict[str, Any] = {
            "model_dtype": str(self.model.llm_engine.model_config.dtype),
            "engine": f"vllm {__version__}",
            "drafter": self.drafter,
            "gamma": self.gamma,
            "invariant": self.invariant,
            "noise_seed": self.noise_seed,
            "speculation": self._totals,
        }
        if self._drafter_size is not None:
            found["drafter_num_parameters"] = self._drafter_size
        return found

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Answers, each a ``Completion`` whose trace says how it was decoded.

        Raises:
            HarnessError: An option of a request is not supported.
        """
        rows = [self._readied(request) for request in requests]
        self._made.clear()
        before = self._counted()
        try:
            texts = super().write(rows, disable_tqdm)
        except (TypeError, ValueError) as cause:
            raise HarnessError(f"vLLM cannot answer: {one_line(cause)}") from cause
        made = [self._made[row.args[0].key] for row in rows]
        batch = self._of_batch(self._counted().since(before), sum(one["tokens"] for one in made))
        tokens = sum(one["tokens"] for one in made)
        self._totals = added(self._totals, batch | {"answers": len(made), "tokens": tokens})
        return [
            Completion(
                text,
                {
                    "speculation": one
                    | share(batch, one["tokens"] / max(tokens, 1))
                    | {"shares_of": len(made)}
                },
            )
            for text, one in zip(texts, made, strict=True)
        ]

    def _readied(self, request: Any) -> Any:
        """A request with options for the engine; what draws its tokens is kept by its key."""
        prompt, options = request.args
        check_temperature(options)
        if self.invariant:
            options, self._drawn[prompt.key] = self._read(options)
            return replace(request, arguments=(prompt, options))
        if self.drafter != NONE:
            check_draws(options)
        return request

    def _read(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """A request's options: those for the engine, and how scores are made of logits."""
        kept = {name: options[name] for name in _ENGINE_OPTIONS if name in options}
        rest = {name: value for name, value in options.items() if name not in kept}
        rest["temperature"] = temperature_of(rest)
        settings = settings_of(
            rest, _DEFAULTS, self.max_gen_toks, "", f"{NAME} with invariant=true"
        )
        sampling = settings.sampling
        kept |= {"max_gen_toks": settings.length, "do_sample": not sampling.greedy}
        kept |= {"temperature": sampling.temperature}
        if "until" in options:
            kept["until"] = options["until"]
        return kept, sampling

    def prepare(self, asked: Sequence[Asked]) -> None:
        """Tell the sampler in the workers what draws a request's tokens."""
        super().prepare(asked)
        if not self.invariant:
            return
        for one in asked:
            if one.prompt is None or one.scores:
                continue
            key = request_key(self.noise_seed, one.tokens, one.prompt.repeat, one.prompt.treatment)
            one.send(*Drawn(key, self._drawn[one.prompt.key]).message())

    def finished(self, asked: Sequence[Asked], outputs: Sequence[Any]) -> None:
        """Note an answer's tokens and seconds."""
        super().finished(asked, outputs)
        for one, output in zip(asked, outputs, strict=True):
            if one.prompt is not None and not one.scores:
                times = output.metrics
                self._made[one.prompt.key] = {
                    "tokens": len(output.outputs[0].token_ids),
                    "seconds": times.last_token_ts - times.scheduled_ts,
                }

    def _counted(self) -> DraftCounts:
        return DraftCounts.of(self.model.get_metrics())

    def _of_batch(self, counts: DraftCounts, tokens: int) -> dict[str, Any]:
        """What is known of a batch.

        Args:
            counts: What vLLM counted meanwhile.
            tokens: The answers' tokens.

        Raises:
            HarnessError: Another engine of this process has taken vLLM's metrics over.
        """
        if counts.written < tokens:
            raise HarnessError(
                "vLLM keeps one set of metrics a process, and an engine started later has it: run "
                "one vllm-speculative a process, or use them one after another"
            )
        found = counts.totals()
        if self.invariant:
            found |= self.in_workers(f"{_WORKER}:take_counts")[0]
        return found
