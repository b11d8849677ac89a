"""``vllm-steered``: lm-eval's ``vllm`` with steering by request, on an unchanged vLLM.

    lm_eval --model vllm-steered --model_args pretrained=M,steering=DIR,method=diffmean --tasks …

Requests of different concept and factor, and requests that are not steered, share the engine's
steps; a hook inside vLLM's workers (``vllm_worker``) edits each token as its request asks. The
directions go to the workers once, by the dictionary's path; a request carries a few numbers.

vLLM keeps computed prefixes. They depend on the steering, so a steered request's prefix is salted
with it: equal steering shares, other steering does not, and unsteered requests share as usual.

The engine runs in eager mode, and with tensor parallelism only. What would draft, split or replay
the steps in another way is refused, and so is whatever does not steer by directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness import HarnessError, Prompt, traced
from harness.models.answers import Answers
from harness.models.requests import in_groups
from harness_axbench.models.vllm_batch import Edit
from harness_axbench.models.vllm_settings import NAME, WORKER, check
from harness_axbench.models.wrapping import Ask, SteeringWrapper, identity_of, warn_of_other_weights
from harness_axbench.requests import STEERING, wants_detection
from harness_axbench.steering.plan import make_plan
from harness_axbench.steering.positions import ALL, Positions
from harness_axbench.steering.steering import ADD, Steering

try:
    from lm_eval.models.vllm_causallms import VLLM
    from vllm import SamplingParams, TokensPrompt
    from vllm.platforms import current_platform
except ImportError as missing:
    raise HarnessError(
        f"vllm-steered needs vLLM: pip install 'paperharness[vllm]' ({missing})"
    ) from missing

_SLICE = 4  # with response_cache, requests a call of the engine, in multiples of its batch
_NO_MATTER = (
    "block_size",
    "enable_prefix_caching",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_batched_tokens",
    "max_num_seqs",
    "model",
    "seed",  # of sampled answers, each of which knows it
)


class VLLMSteeringMixin(SteeringWrapper):
    """Steers lm-eval's ``VLLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: Model id or path, or ``testbed:NAME``.
        steering: Folder of a dictionary.
        method: Method of the dictionary; may be left out where it has only one.
        concept: With ``factor``: steer every row that names no concept itself.
        factor: Multiple of max_act for those rows.
        intervention: ``add``, ``clamp``, ``min_clamp`` or ``null_out``.
        positions: ``all``, ``prompt``, ``generated``, or a slice of the prompt's tokens.
        perplexity: Whether each steered answer is also scored by the unsteered model.
        response_cache: A file that keeps all answers; a rerun asks only what is missing.
        **kwargs: As for ``VLLM``.

    Raises:
        HarnessError: The dictionary is missing, damaged, for another model or without directions;
            or a setting of the engine is not supported.
    """

    cannot_load = "vLLM cannot run {}"

    model: Any
    model_args: dict[str, Any]
    batch_size: Any

    def __init__(
        self,
        pretrained: str,
        *,
        steering: str | None = None,
        method: str | None = None,
        concept: int | None = None,
        factor: float | None = None,
        intervention: str = ADD,
        positions: str = ALL,
        perplexity: bool = False,
        response_cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        from harness.testbed import resolve

        self.plan = make_plan(
            steering,
            method,
            concept,
            factor,
            intervention=intervention,
            positions=positions,
            model=NAME,
        )
        self._positions = Positions.parse(self.plan.positions)
        self._perplexity = perplexity
        self._warned: set[str] = set()
        self._window: Steering | None = None
        path = resolve(pretrained)
        check(self.plan, path, kwargs)
        settings = kwargs | {"enforce_eager": True, "worker_extension_cls": WORKER}
        super().__init__(pretrained, **settings)
        self._load_steering()
        warn_of_other_weights(self.plan, pretrained, path)
        if response_cache and self.batch_size == "auto":
            self.batch_size = _SLICE * self._vllm_config.scheduler_config.max_num_seqs
        self.answers = Answers(response_cache, self._identity(path) if response_cache else {})

    @property
    def _vllm_config(self) -> Any:
        return self.model.llm_engine.vllm_config

    def _load_steering(self) -> None:
        found = self.plan.found
        arguments = (str(found.folder.resolve()), self.plan.method, found.sha256)
        for problem in self.model.collective_rpc("load_steering", args=arguments):
            if problem is not None:
                raise HarnessError(problem)

    def _identity(self, path: str) -> dict[str, Any]:
        settings = {k: v for k, v in self.model_args.items() if k not in _NO_MATTER}
        settings |= {"engine": "vllm", "dtype": self._vllm_config.model_config.dtype}
        return identity_of(self.plan, path, settings)

    def _seed(self) -> int:
        return int(self.model_args["seed"])

    # How answers are asked for

    def _generated(self, rows: list[Any], ask: Ask) -> list[Any]:
        """Answers whose draws, if any, belong to their request, whatever else is in a step.

        Not so on a CPU: vLLM's engine dies there of a request with a seed whose prompt comes in
        chunks (0.32: "CPU Generator does not use offset"). All draws are of one stream then.
        """
        if current_platform.is_cpu():
            return ask(rows)
        seeded = []
        for row in rows:
            prompt, kwargs = row.args
            seeded.append(replace(row, arguments=(prompt, {"seed": prompt.seed, **kwargs})))
        return ask(seeded)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        if any(map(wants_detection, requests)):
            raise HarnessError(
                f"{NAME} cannot score texts for a concept, which needs their activations; use "
                f"--model hf-steered for axbench_detect"
            )
        stock = super().loglikelihood
        return self._scored(
            "loglikelihood", requests, lambda rows: stock(rows, disable_tqdm=disable_tqdm)
        )

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().loglikelihood_rolling

        def ask(group: list[Any]) -> list[Any]:
            self._window = group[0].args[0].notes[STEERING]
            try:
                return list(stock(group, disable_tqdm=disable_tqdm))
            finally:
                self._window = None

        return self._scored(
            "loglikelihood_rolling", requests, lambda rows: in_groups(rows, STEERING, ask)
        )

    def _scored(self, kind: str, requests: list[Any], ask: Ask) -> list[Any]:
        steerings, answers = self._answer(kind, requests, ask)
        return [
            traced(a, **(s.trace() if s else {})) for a, s in zip(answers, steerings, strict=True)
        ]

    # How a request's tokens keep their steering on the way through lm-eval

    def tok_encode(self, string: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
        found = super().tok_encode(string, *args, **kwargs)
        if isinstance(string, str):
            return _steered(found, string)
        return [_steered(ids, text) for ids, text in zip(found, string, strict=True)]

    def _loglikelihood_tokens(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        marked = []
        for key, context, continuation in requests:  # windows of rolling requests have no key
            steering = self._window if key is None else _note(key[0])
            if steering is not None and not self._positions.everywhere:
                raise HarnessError(
                    "positions= tells the prompt's tokens from the answer's and is for "
                    "generation; texts are scored with positions=all"
                )
            marked.append((key, SteeredTokens(context, steering), continuation))
        return super()._loglikelihood_tokens(marked, disable_tqdm=disable_tqdm)

    def _model_generate(
        self,
        requests: list[list[int]],
        generate: bool = False,
        sampling_params: Any = None,
    ) -> Any:
        """Run the engine; each request's prompt is a ``SteeredTokens`` where it is steered."""
        if not generate or sampling_params is None:
            sampling_params = [
                SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False)
                for _ in requests
            ]
        prompts = []
        for tokens, sampling in zip(requests, sampling_params, strict=True):
            prompt = TokensPrompt(prompt_token_ids=list(tokens))
            edit = edit_of(getattr(tokens, "steering", None), self._positions, len(tokens))
            if edit is not None:
                sampling.extra_args = (sampling.extra_args or {}) | edit.extra_args()
                prompt["cache_salt"] = f"{self.plan.found.sha256}:{self.plan.method}:{edit}"
            prompts.append(prompt)
        return self.model.generate(
            prompts, sampling_params=sampling_params, use_tqdm=self.batch_size == "auto"
        )


class SteeredTokens(list[int]):
    """A request's tokens, which keep its steering when they are cut or continued."""

    def __init__(self, tokens: Sequence[int], steering: Steering | None) -> None:
        super().__init__(tokens)
        self.steering = steering

    def __add__(self, more: Any) -> Any:
        return SteeredTokens([*self, *more], self.steering)

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return SteeredTokens(found, self.steering) if isinstance(place, slice) else found


def _steered(ids: list[int], text: str) -> list[int]:
    return SteeredTokens(ids, _note(text)) if isinstance(text, Prompt) else ids


def _note(text: str) -> Steering | None:
    return text.notes.get(STEERING) if isinstance(text, Prompt) else None


def edit_of(steering: Steering | None, positions: Positions, prompt: int) -> Edit | None:
    """What the workers do to a request; None where it is nothing.

    Args:
        steering: How the request is steered.
        positions: Where.
        prompt: Number of the prompt's tokens.
    """
    if steering is None or (steering.intervention == ADD and steering.scale == 0):
        return None
    if positions.prompt is None:
        begin, end = prompt, None
    else:
        begin, last, _ = positions.prompt.indices(prompt)
        end = None if positions.generated else last
    return Edit(steering.place, steering.scale, steering.intervention, begin, end)


class SteeredVLLM(VLLMSteeringMixin, VLLM):  # type: ignore[misc]  # lm-eval is untyped
    """``vllm-steered``: lm-eval's ``vllm`` with a steering dictionary."""
