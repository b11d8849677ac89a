"""The drafter-invariant sampler in the place of vLLM's own, in model runner V2.

    GPUModelRunner.sample(hidden_states, input_batch, grammar_output)
        what a step writes; stock, it calls Sampler or RejectionSampler
    DraftModelSpeculator.sample_draft(hidden_states, …)
        what a drafting model proposes; there is none with n-grams

Rows of scores and what is drafted lie as in runner V1 (``vllm_runner``). What V2 keeps of a
request lies on the device and is true there in every step: ``req_states.all_token_ids`` up to
``total_len``. Drafts of a request that still reads its prompt are placeholders, taken for wrong.

A drafting model's picks are coupled to the target's while vLLM makes them outside a CUDA graph, as
its ``StandaloneARSpeculator`` does. Uncoupled drafts would cost acceptance, and change no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.seams import need, takes
from harness_specdecode.models.vllm_runner import RunnerSampler
from harness_specdecode.models.vllm_sampler import NOTHING, Drawn, sent

_STATES = ("prompt_len.np", "prefill_len.gpu", "total_len.gpu", "all_token_ids.gpu")
_BATCH = (
    "idx_mapping",
    "idx_mapping_np",
    "expanded_idx_mapping",
    "expanded_local_pos",
    "cu_num_logits",
    "cu_num_logits_np",
    "logits_indices",
    "positions",
    "input_ids",
    "seq_lens",
    "seq_lens_cpu_upper_bound",
    "prefill_len_np",
)


class SamplerV2(RunnerSampler):
    """In the place of ``sample`` and ``sample_draft`` of runner V2."""

    def __init__(self, runner: Any, seed: int) -> None:
        from vllm.v1.worker.gpu.input_batch import InputBatch
        from vllm.v1.worker.gpu.sample.output import SamplerOutput

        need(runner, "sample", "model.compute_logits", "num_speculative_steps")
        need(runner.req_states, *_STATES)
        takes(runner.sample, "hidden_states", "input_batch", "grammar_output")
        takes(InputBatch, *_BATCH)
        takes(SamplerOutput, "sampled_token_ids", "num_sampled", "num_rejected", "num_nans")
        super().__init__(runner, seed)
        self._stock, runner.sample = runner.sample, self.sample
        drafter: Any = getattr(runner, "speculator", None)
        if hasattr(drafter, "model"):  # n-grams have none
            need(drafter, "sample_draft", "compute_draft_logits")
            takes(drafter.sample_draft, "hidden_states")
            takes(drafter.compute_draft_logits, "hidden_states", "spec_step_idx")
            self._drafter, self._stock_draft = drafter, drafter.sample_draft
            drafter.sample_draft = self.draft

    def sample(self, hidden_states: Tensor, input_batch: Any, grammar_output: Any) -> Any:
        """As the runner's ``sample``."""
        from vllm.v1.worker.gpu.sample.output import SamplerOutput

        asked = self.asked()
        if asked is None:
            return self._stock(hidden_states, input_batch, grammar_output)
        batch, states, n = input_batch, self.runner.req_states, len(asked)
        logits = self.runner.model.compute_logits(hidden_states[batch.logits_indices])
        positions = batch.positions[batch.logits_indices]
        counts, first = np.diff(batch.cu_num_logits_np), batch.cu_num_logits[:n].long()
        prompts = sent(states.prompt_len.np[batch.idx_mapping_np], self.device)
        writes = batch.seq_lens[:n] >= states.prefill_len.gpu[batch.idx_mapping]
        written = self.sampler.verify(
            logits,
            asked,
            positions[first] + 1 - prompts,
            counts.tolist(),
            self._drafted(batch, positions, counts),
            writes=writes,
            seen=self._ids(asked, batch, logits.shape[-1]),
        )
        if batch.num_draft_tokens:  # as wide as RejectionSampler's
            missing = self.runner.num_speculative_steps + 1 - written.shape[1]
            written = torch.nn.functional.pad(written, (0, missing), value=NOTHING)
        sampled = (written != NOTHING).sum(-1).where(writes, 0).int()
        rejected = (batch.cu_num_logits[1 : n + 1] - first - sampled).where(writes, 0).int()
        found = SamplerOutput(
            sampled_token_ids=written,
            logprobs_tensors=None,
            num_nans=None,
            num_sampled=sampled,
            num_rejected=rejected,
        )
        return found, sampled, rejected

    def draft(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the speculator's ``sample_draft``."""
        if not self.ours:
            stock: Tensor = self._stock_draft(hidden_states, *args, **kwargs)
            return stock
        return self.sampler.draw(self._drafter.compute_draft_logits(hidden_states, 0))

    def _drafted(self, batch: Any, positions: Tensor, counts: np.ndarray[Any, Any]) -> Tensor:
        """The drafted tokens, those of a request one after the other; −1 for a placeholder."""
        ids, ahead = batch.input_ids[batch.logits_indices], batch.expanded_local_pos
        prefill = self.runner.req_states.prefill_len.gpu[batch.expanded_idx_mapping]
        ids = ids.where(positions - ahead >= prefill, NOTHING)
        drafted = np.delete(np.arange(counts.sum()), counts.cumsum() - counts)
        found: Tensor = ids[sent(drafted, self.device)]
        return found

    def _ids(self, asked: Sequence[Drawn], batch: Any, vocabulary: int) -> Tensor | None:
        """Which ids occur in each request's text, if one penalises them."""
        if not any(one.sampling.penalises for one in asked):
            return None
        states, rows = self.runner.req_states, batch.idx_mapping
        longest = max(int(batch.seq_lens_cpu_upper_bound.max()), int(batch.prefill_len_np.max()))
        ids = states.all_token_ids.gpu[rows, : longest + 1].long()
        held = torch.arange(ids.shape[1], device=self.device) < states.total_len.gpu[rows, None]
        seen = torch.zeros(len(asked), vocabulary + 1, dtype=torch.bool, device=self.device)
        return seen.scatter_(1, ids.where(held, vocabulary), True)[:, :-1]
