"""The drafter-invariant sampler in the place of a vLLM model runner's own; in runner V1.

    GPUModelRunner._sample(logits, spec_decode_metadata)
        what a step writes; stock, it calls Sampler or RejectionSampler (Leviathan et al.)
    SpecDecodeBaseProposer._sample_draft_tokens(hidden_states, sampling_metadata)
        what a drafting model proposes; there is none with n-grams and suffixes

``CPUModelRunner`` inherits the first. The scores of a request with m drafted tokens are m + 1
adjacent rows of ``logits``; ``logits_indices`` says which tokens of the step they stand behind. A
token's position is that of the token before, plus one, and is read on the device
(``harness.engine.seams``): with asynchronous scheduling the host lays out a step before it knows
what the last one wrote, and holds −1 in the place of each of its tokens.

For a repetition penalty the ids of a text are kept on the device too. A text is read from
``token_ids_cpu`` when its request enters the step, where vLLM itself must know it whole, and grows
by what the sampler writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.seams import Counts, follow, need, positions_of, takes
from harness_specdecode.couplings.noise import Noise
from harness_specdecode.models.vllm_sampler import Drawn, InvariantSampler, sent


class RunnerSampler:
    """What both model runners have in common.

    Requests without a key (lm-eval's log-likelihoods) are sampled by vLLM; the two kinds are never
    in the engine together, as each is asked for and waited for by itself.

    Args:
        runner: vLLM's model runner.
        seed: Of the noise.

    Attributes:
        sampler: What picks the tokens.
    """

    def __init__(self, runner: Any, seed: int) -> None:
        need(runner, "model_config.dtype", "device")
        self.runner, self.device = runner, torch.device(runner.device)
        precision = torch.finfo(runner.model_config.dtype).eps
        self.sampler = InvariantSampler(Noise(seed, self.device), precision)
        self.ours = False
        self.requests: Sequence[str] = ()
        self._drawn: dict[str, Drawn] = {}
        follow(runner, self)

    def comes(self, request: str, sampling: Any) -> None:
        """Note how a request is sampled."""
        self.goes(request)
        drawn = Drawn.of(sampling.extra_args if sampling is not None else None)
        if drawn is not None:
            self._drawn[request] = drawn

    def goes(self, request: str) -> None:
        """Forget it."""
        self._drawn.pop(request, None)

    def steps(self, requests: Sequence[str], counts: Counts) -> None:
        """Note whose tokens a step has."""
        self.requests = list(requests)

    def asked(self) -> list[Drawn] | None:
        """How the step's requests are sampled; None where vLLM is to do it."""
        asked = [self._drawn[name] for name in self.requests if name in self._drawn]
        assert len(asked) in (0, len(self.requests)), "requests with a key among others"
        self.ours = bool(asked)
        return asked or None


class SamplerV1(RunnerSampler):
    """In the place of ``_sample`` and ``_sample_draft_tokens`` of runner V1."""

    def __init__(self, runner: Any, seed: int) -> None:
        from vllm.v1.spec_decode.metadata import SpecDecodeMetadata

        need(runner, "_sample", "query_start_loc.gpu", "discard_request_mask.gpu")
        need(runner.input_batch, "num_prompt_tokens", "num_tokens_no_spec", "token_ids_cpu")
        takes(runner._sample, "logits", "spec_decode_metadata")
        takes(SpecDecodeMetadata, "num_draft_tokens", "draft_token_ids", "logits_indices")
        super().__init__(runner, seed)
        self._positions = positions_of(runner)
        self._seen = Seen(self.device)
        self._stock, runner._sample = runner._sample, self.sample
        drafter: Any = getattr(runner, "drafter", None)
        if hasattr(drafter, "model"):  # n-grams and suffixes have none
            need(drafter, "_sample_draft_tokens", "model.compute_logits")
            self._drafter, self._stock_draft = drafter, drafter._sample_draft_tokens
            takes(self._stock_draft, "hidden_states", "sampling_metadata")
            drafter._sample_draft_tokens = self.draft

    def sample(self, logits: Tensor, spec_decode_metadata: Any) -> Any:
        """As the runner's ``_sample``."""
        from vllm.v1.outputs import SamplerOutput

        asked = self.asked()
        if asked is None:
            return self._stock(logits, spec_decode_metadata)
        n, metadata = len(asked), spec_decode_metadata
        if metadata is None:
            counts = np.ones(n, dtype=np.int64)
            behind = self.runner.query_start_loc.gpu[1 : n + 1].long() - 1
        else:
            counts = np.array(metadata.num_draft_tokens) + 1
            behind = metadata.logits_indices[sent(counts.cumsum() - counts, self.device)]
        prompts = sent(self.runner.input_batch.num_prompt_tokens[:n], self.device)
        writes = ~self.runner.discard_request_mask.gpu[:n].bool()
        seen = self._ids(asked, logits.shape[-1])
        written = self.sampler.verify(
            logits,
            asked,
            self._positions[behind] + 1 - prompts,
            counts.tolist(),
            torch.zeros(0) if metadata is None else metadata.draft_token_ids,
            writes=writes,
            seen=seen,
        )
        if seen is not None:
            self._seen.add(written, writes)
        return SamplerOutput(sampled_token_ids=written.int(), logprobs_tensors=None)

    def draft(self, hidden_states: Tensor, sampling_metadata: Any) -> Any:
        """As the proposer's ``_sample_draft_tokens``."""
        if not self.ours:
            return self._stock_draft(hidden_states, sampling_metadata)
        return self.sampler.draw(self._drafter.model.compute_logits(hidden_states)), None

    def _ids(self, asked: Sequence[Drawn], vocabulary: int) -> Tensor | None:
        """Which ids occur in each request's text, if one penalises them."""
        if not any(one.sampling.penalises for one in asked):
            self._seen.forget()
            return None
        return self._seen.of(self.requests, vocabulary, self._text)

    def _text(self, row: int) -> Counts:
        batch = self.runner.input_batch
        held: Counts = batch.token_ids_cpu[row, : batch.num_tokens_no_spec[row]]
        return held


class Seen:
    """Which ids occur in the text of each request of a step, kept on the device.

    Args:
        device: The runner's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.forget()

    def forget(self) -> None:
        """Read every text anew when it is asked for next."""
        self._requests: list[str] = []
        self._table = torch.zeros(0, 1, dtype=torch.bool, device=self._device)

    def of(self, requests: Sequence[str], vocabulary: int, text: Callable[[int], Counts]) -> Tensor:
        """Of the next step.

        Args:
            requests: Ids [n].
            vocabulary: V.
            text: The ids of a request's text, given its row; asked for those that were not in the
                step before.

        Returns:
            bool [n, V].
        """
        if self._requests != list(requests):
            before = {request: row for row, request in enumerate(self._requests)}
            table = torch.zeros(len(requests), vocabulary + 1, dtype=torch.bool)
            table = table.to(self._device)
            known = [row for row, request in enumerate(requests) if request in before]
            if known:
                old = np.array([before[requests[row]] for row in known])
                table[sent(np.array(known), self._device)] = self._table[sent(old, self._device)]
            for row in sorted(set(range(len(requests))) - set(known)):
                table[row, sent(text(row).astype(np.int64), self._device)] = True
            self._requests, self._table = list(requests), table
        return self._table[:, :-1]

    def add(self, written: Tensor, writes: Tensor) -> None:
        """Note what a step writes, as ``InvariantSampler.verify`` has it."""
        nothing = self._table.shape[1] - 1
        kept = (written >= 0) & writes.unsqueeze(1)
        self._table.scatter_(1, written.where(kept, nothing), True)
