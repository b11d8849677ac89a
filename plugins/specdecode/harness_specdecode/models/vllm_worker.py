"""The part of ``vllm-speculative`` with ``invariant=true`` that runs inside vLLM's workers.

One remote call (``harness.engine.worker``) puts the drafter-invariant sampler
(``vllm_sampler``) in the place of two methods:

    GPUModelRunner._sample(logits, spec_decode_metadata)
        what a step writes; stock, it calls Sampler or RejectionSampler (Leviathan et al.)
    SpecDecodeBaseProposer._sample_draft_tokens(hidden_states, sampling_metadata)
        what a drafting model proposes; there is none with n-grams and suffixes

``CPUModelRunner`` inherits the first. Neither lies inside a CUDA graph or a compiled model. Read of
the runner are ``input_batch`` (``req_ids``, ``num_tokens_no_spec``, ``num_prompt_tokens``,
``token_ids_cpu``), ``requests`` and ``discard_request_mask`` (whose prompt is not read to its end),
of SpecDecodeMetadata ``num_draft_tokens`` and ``draft_token_ids``. The scores of a request with m
drafted tokens are m + 1 adjacent rows of ``logits``. These are internals: a vLLM in which nobody
has read them is refused.

``num_tokens_no_spec`` counts the tokens written only where the engine waits for them: asynchronous
scheduling is off. Under tensor parallelism each rank picks the same tokens from the same scores.
"""

from __future__ import annotations

from typing import Any

import torch

from harness import HarnessError
from harness_specdecode.couplings.noise import Noise
from harness_specdecode.models.vllm_sampler import Drawn, InvariantSampler

_NAME = "speculative"  # of what is kept in a worker
KNOWN = ((0, 32),)  # releases whose code was read
_NEEDED = ("_sample", "input_batch", "requests", "discard_request_mask")


def make_invariant(worker: Any, seed: int) -> None:
    """Sample drafter-invariantly from now on, for requests that have a key.

    Args:
        worker: vLLM's.
        seed: Of the noise.

    Raises:
        HarnessError: As ``attach``.
    """
    worker.harness_parts[_NAME] = attach(worker.model_runner, seed)


def take_counts(worker: Any) -> dict[str, int]:
    """What the sampler counted since it was last asked."""
    sampler = worker.harness_parts[_NAME].sampler
    found = {"target_calls": sampler.target_calls, "near_ties": sampler.near_ties}
    sampler.target_calls = sampler.near_ties = 0
    return found


def check_version() -> None:
    """Refuse a vLLM whose internals are not known.

    Raises:
        HarnessError: It is of another release.
    """
    from vllm import __version__, __version_tuple__

    if tuple(__version_tuple__[:2]) not in KNOWN:
        known = ", ".join(".".join(map(str, release)) for release in KNOWN)
        raise HarnessError(
            f"invariant=true takes the place of vLLM's own sampler and knows that of vLLM {known}, "
            f"not {__version__}: leave it out, or install a known one"
        )


def attach(runner: Any, seed: int) -> RunnerSampler:
    """Put the sampler into a model runner.

    Raises:
        HarnessError: vLLM or the runner is of a kind that is not known.
    """
    check_version()
    missing = [name for name in _NEEDED if not hasattr(runner, name)]
    if missing:
        raise HarnessError(
            f"invariant=true works with vLLM's model runner V1; {type(runner).__name__} has no "
            f"{', '.join(missing)}"
        )
    sampling = RunnerSampler(runner, seed)
    runner._sample = sampling.sample
    drafter: Any = getattr(runner, "drafter", None)
    if hasattr(drafter, "_sample_draft_tokens"):
        drafter._sample_draft_tokens = sampling.draft
    return sampling


class RunnerSampler:
    """In the place of a model runner's own sampling.

    Requests without a key (lm-eval's log-likelihoods) are sampled by vLLM; the two kinds are never
    in the engine together, as each is asked for and waited for by itself.
    """

    def __init__(self, runner: Any, seed: int) -> None:
        precision = torch.finfo(runner.model_config.dtype).eps
        self.sampler = InvariantSampler(Noise(seed, runner.device), precision)
        self._runner, self._stock = runner, runner._sample
        drafter: Any = getattr(runner, "drafter", None)
        self._stock_draft: Any = getattr(drafter, "_sample_draft_tokens", None)
        self._ours = False

    def sample(self, logits: Any, spec_decode_metadata: Any) -> Any:
        """As the runner's ``_sample``."""
        from vllm.v1.outputs import SamplerOutput

        asked = self._asked()
        self._ours = asked is not None
        if asked is None:
            return self._stock(logits, spec_decode_metadata)
        batch, n = self._runner.input_batch, len(asked)
        held, prompts = batch.num_tokens_no_spec[:n], batch.num_prompt_tokens[:n]
        drafted = [0] * n if spec_decode_metadata is None else spec_decode_metadata.num_draft_tokens
        written = self.sampler.verify(
            logits,
            asked,
            torch.from_numpy(held - prompts).long(),
            [count + 1 for count in drafted],
            torch.zeros(0)
            if spec_decode_metadata is None
            else spec_decode_metadata.draft_token_ids,
            writes=~torch.from_numpy(self._runner.discard_request_mask.np[:n].astype(bool)),
            seen=self._seen(asked, logits.shape[-1]),
        )
        return SamplerOutput(sampled_token_ids=written.int(), logprobs_tensors=None)

    def draft(self, hidden_states: Any, sampling_metadata: Any) -> Any:
        """As the proposer's ``_sample_draft_tokens``."""
        if not self._ours:
            return self._stock_draft(hidden_states, sampling_metadata)
        return self.sampler.draw(self._runner.drafter.model.compute_logits(hidden_states)), None

    def _asked(self) -> list[Drawn] | None:
        """How the batch's requests are sampled; None where vLLM is to do it."""
        requests = self._runner.requests
        found = [
            Drawn.of(requests[name].sampling_params.extra_args)
            for name in self._runner.input_batch.req_ids
        ]
        asked = [one for one in found if one is not None]
        assert len(asked) in (0, len(found)), "requests with a key among requests without one"
        return asked or None

    def _seen(self, asked: list[Drawn], vocabulary: int) -> torch.Tensor | None:
        if not any(one.sampling.penalises for one in asked):
            return None
        batch = self._runner.input_batch
        seen = torch.zeros(len(asked), vocabulary, dtype=torch.bool)
        for row in range(len(asked)):
            held = batch.token_ids_cpu[row, : batch.num_tokens_no_spec[row]]
            seen[row, torch.from_numpy(held).long()] = True
        return seen
