"""The invariant sampler in vLLM's model runner V2: a step laid out by hand in its own classes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.models.vllm_sampler import NOTHING, Drawn
from harness_specdecode.models.vllm_worker import attach

from harness.errors import HarnessError

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]  # of vLLM's own imports

V, GAMMA = 10, 3
GREEDY, PENALISED = Sampling(), Sampling(repetition_penalty=100.0)


def text_states():
    """Slots 0 to 3 of the runner's requests: text, prompt's length and length when it came."""
    texts = {2: ([1, 2, 3, 4], 3, 3), 0: ([5, 6, 7, 8, 9], 5, 5), 1: ([1, 1, 2, 3], 2, 4)}
    ids, lengths = torch.zeros(4, 16, dtype=torch.int32), torch.zeros(3, 4, dtype=torch.int32)
    for slot, (text, prompt, prefill) in texts.items():
        ids[slot, : len(text)] = torch.tensor(text)
        lengths[:, slot] = torch.tensor([len(text), prompt, prefill])
    total, prompt, prefill = (SimpleNamespace(gpu=row, np=row.numpy()) for row in lengths)
    return SimpleNamespace(
        all_token_ids=SimpleNamespace(gpu=ids), total_len=total, prompt_len=prompt,
        prefill_len=prefill,
    )  # fmt: skip


def step():
    """Three requests in slots 2, 0 and 1.

    The first checks three drafted tokens behind its fourth, the second reads two tokens of its
    prompt and is given a place for a draft, the third came back with two tokens written.
    """
    from vllm.v1.worker.gpu.input_batch import InputBatch, InputBuffers

    batch = InputBatch.make_dummy(3, 9, InputBuffers(4, 16, torch.device("cpu")))
    batch.req_ids = ["a", "b", "c"]
    batch.idx_mapping_np = np.array([2, 0, 1])
    batch.idx_mapping = torch.tensor([2, 0, 1])
    batch.expanded_idx_mapping = torch.tensor([2, 2, 2, 2, 0, 0, 1])
    batch.expanded_local_pos = torch.tensor([0, 1, 2, 3, 0, 1, 0], dtype=torch.int32)
    batch.input_ids = torch.tensor([4, 5, 8, 2, 5, 6, 0, 2, 3], dtype=torch.int32)
    batch.positions = torch.tensor([3, 4, 5, 6, 0, 1, 2, 2, 3])
    batch.logits_indices = torch.tensor([0, 1, 2, 3, 5, 6, 8])
    batch.cu_num_logits_np = np.array([0, 4, 6, 7], dtype=np.int32)
    batch.cu_num_logits = torch.tensor([0, 4, 6, 7], dtype=torch.int32)
    batch.num_draft_tokens = 4
    batch.query_start_loc_np = np.array([0, 4, 7, 9], dtype=np.int32)
    batch.seq_lens = torch.tensor([7, 3, 4], dtype=torch.int32)
    batch.seq_lens_cpu_upper_bound = torch.tensor([7, 3, 4], dtype=torch.int32)
    batch.prefill_len_np = np.array([3, 5, 4], dtype=np.int32)
    return batch


def runner(best):
    """A runner whose model likes some ids best, in the rows of its scores."""
    logits = torch.zeros(len(best), V)
    logits[range(len(best)), best] = 9.0
    return SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.float32),
        device="cpu",
        input_buffers=SimpleNamespace(positions=torch.zeros(16)),
        req_states=text_states(),
        model=SimpleNamespace(compute_logits=lambda hidden: logits[: len(hidden)]),
        num_speculative_steps=GAMMA,
        speculator=SimpleNamespace(
            model=None,
            compute_draft_logits=lambda hidden_states, spec_step_idx: hidden_states,
            sample_draft=lambda hidden_states, *rest: "stock draft",
        ),
        execute_model=lambda scheduler_output: None,
        prepare_inputs=lambda batch: batch,
        sample=lambda hidden_states, input_batch, grammar_output: "stock",
    )


def ask(made, sampling):
    """Let the step's requests come, and lay it out."""
    new = [
        SimpleNamespace(
            req_id=name,
            sampling_params=SimpleNamespace(
                extra_args=dict([Drawn(key, sampling).message()]) if sampling else None
            ),
        )
        for key, name in enumerate("abc")
    ]
    made.execute_model(SimpleNamespace(finished_req_ids=set(), scheduled_new_reqs=new))
    return made.prepare_inputs(step())


def test_a_step_writes_accepted_drafts_and_nothing_inside_a_prompt():
    made = runner([5, 8, 1, 7, 6, 6, 4])
    sampling = attach(made, 0)
    found, sampled, rejected = made.sample(torch.zeros(9, 1), ask(made, GREEDY), None)
    first, second, third = found.sampled_token_ids.tolist()
    assert (first, third) == ([5, 8, 1, NOTHING], [4, NOTHING, NOTHING, NOTHING])
    assert second[1:] == [NOTHING] * GAMMA  # the draft in its place is no draft, though it is 0
    assert (sampled.tolist(), rejected.tolist()) == ([3, 0, 1], [1, 0, 0])
    assert found.num_sampled is sampled and found.num_rejected is rejected
    assert sampling.sampler._next.tolist()[::2] == [4, 3]  # one and two were written before
    assert sampling.sampler.take_counts() == {"target_calls": 2, "near_ties": 0}
    drafts = made.speculator.sample_draft(torch.eye(V)[[3, 4, 5]], torch.zeros(3), None)
    assert drafts.tolist() == [3, 4, 5]


def test_penalties_look_at_the_text_so_far():
    made = runner([5, 8, 1, 7, 6, 6, 4])
    sampling = attach(made, 0)
    batch = ask(made, PENALISED)
    seen = sampling._ids([Drawn(k, PENALISED) for k in range(3)], batch, V)
    assert [row.nonzero().flatten().tolist() for row in seen] == [
        [1, 2, 3, 4], [5, 6, 7, 8, 9], [1, 2, 3],
    ]  # fmt: skip
    made.sample(torch.zeros(9, 1), batch, None)
    assert sampling._ids([Drawn(0, GREEDY)], batch, V) is None


def test_vllm_samples_what_has_no_key():
    made = runner([0] * 7)
    attach(made, 0)
    assert made.sample(torch.zeros(9, 1), ask(made, None), None) == "stock"
    assert made.speculator.sample_draft(torch.zeros(3, V), None) == "stock draft"


@pytest.mark.parametrize(
    ("owner", "name"),
    [("", "sample"), ("req_states", "total_len"), ("speculator", "compute_draft_logits")],
)
def test_what_has_moved_is_named(owner, name):
    made = runner([0] * 7)
    delattr(getattr(made, owner) if owner else made, name)
    with pytest.raises(HarnessError, match=rf"has no SimpleNamespace.{name}"):
        attach(made, 0)


def test_verification_shared_out_on_the_device_is_refused():
    made = runner([0] * 7)
    made.adaptive_verification = object()
    with pytest.raises(HarnessError, match="drafts are shared out on the device alone"):
        attach(made, 0)
