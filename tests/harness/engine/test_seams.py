"""Both of vLLM's model runners are followed, by vLLM's own classes of requests and batches."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.engine.seams import follow, positions_of
from harness.errors import HarnessError

pytestmark = [
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM, whose methods are followed"),
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own imports
]


class Told:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def comes(self, request: str, sampling: Any) -> None:
        self.seen.append(("comes", request, sampling))

    def goes(self, request: str) -> None:
        self.seen.append(("goes", request))

    def steps(self, requests: Any, counts: Any) -> None:
        self.seen.append(("steps", list(requests), counts.tolist()))


def scheduled(tokens: dict[str, int], new: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> Any:
    """A step, as vLLM's scheduler gives it."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput

    found = SchedulerOutput.make_empty()
    found.scheduled_new_reqs = [
        NewRequestData(
            req_id=name,
            prompt_token_ids=[1, 2, 3],
            mm_features=[],
            sampling_params=SamplingParams(extra_args={"name": name}),
            pooling_params=None,
            block_ids=([0],),
            num_computed_tokens=0,
            lora_request=None,
        )
        for name in new
    ]
    found.finished_req_ids = set(gone)
    found.num_scheduled_tokens = tokens
    found.total_num_scheduled_tokens = sum(tokens.values())
    return found


def counts_of(step: Any, order: list[str]) -> Any:
    return np.array([step.num_scheduled_tokens[name] for name in order], dtype=np.int32)


class RunnerV1:
    """The runner's order of a step is its own: here the other way round."""

    def __init__(self) -> None:
        self.positions = torch.zeros(16, dtype=torch.int64)
        self.input_batch = SimpleNamespace(req_ids=[])

    def execute_model(self, scheduler_output: Any) -> str:
        self.input_batch.req_ids = list(scheduler_output.num_scheduled_tokens)[::-1]
        counts = counts_of(scheduler_output, self.input_batch.req_ids)
        return str(self._prepare_inputs(scheduler_output, counts))

    def _prepare_inputs(self, _scheduler_output: Any, counts: Any) -> str:
        return f"laid out {counts.tolist()}"


class RunnerV2:
    """With vLLM's own buffers and batch."""

    def __init__(self) -> None:
        from vllm.v1.worker.gpu.input_batch import InputBuffers

        self.input_buffers = InputBuffers(4, 16, torch.device("cpu"))

    def execute_model(self, scheduler_output: Any, dummy_run: bool = False) -> str:
        if dummy_run:
            return "dummy"
        return f"laid out {self.prepare_inputs(scheduler_output).num_reqs}"

    def prepare_inputs(self, scheduler_output: Any) -> Any:
        from vllm.v1.worker.gpu.input_batch import InputBatch

        order = list(scheduler_output.num_scheduled_tokens)[::-1]
        counts = counts_of(scheduler_output, order)
        batch = InputBatch.make_dummy(len(order), int(counts.sum()), self.input_buffers)
        batch.req_ids = order
        padded = np.full(6, counts.sum(), dtype=np.int32)  # for graphs of more requests
        padded[: len(order) + 1] = np.concatenate([[0], np.cumsum(counts)])
        batch.query_start_loc_np = padded
        return batch


@pytest.mark.parametrize("kind", [RunnerV1, RunnerV2])
def test_requests_and_steps_are_told_in_the_order_of_the_tokens(kind: Any) -> None:
    runner, told = kind(), Told()
    follow(runner, told)
    runner.execute_model(scheduled({"A": 3, "B": 1}, new=("A", "B")))
    runner.execute_model(scheduled({"B": 1}, gone=("A",)))
    assert [one[:2] for one in told.seen[:2]] == [("comes", "A"), ("comes", "B")]
    assert told.seen[0][2].extra_args == {"name": "A"}
    assert told.seen[2:] == [
        ("steps", ["B", "A"], [1, 3]),
        ("goes", "A"),
        ("steps", ["B"], [1]),
    ]
    assert positions_of(runner).shape == (16,)


def test_dummy_runs_are_nobodys() -> None:
    runner, told = RunnerV2(), Told()
    follow(runner, told)
    assert runner.execute_model(scheduled({"A": 3}, new=("A",)), dummy_run=True) == "dummy"
    assert told.seen == []


@pytest.mark.parametrize(
    ("kind", "gone", "words"),
    [
        (RunnerV1, "positions", "has no RunnerV1.positions"),
        (RunnerV1, "input_batch", "has no RunnerV1.input_batch.req_ids"),
        (RunnerV2, "input_buffers", "has no RunnerV2.input_buffers.positions"),
    ],
)
def test_a_runner_whose_parts_have_moved_is_refused(kind: Any, gone: str, words: str) -> None:
    runner = kind()
    delattr(runner, gone)
    with pytest.raises(HarnessError, match=words):
        follow(runner, Told())


def test_drafts_shared_out_on_the_device_are_refused() -> None:
    runner = RunnerV2()
    runner.adaptive_verification = object()
    with pytest.raises(HarnessError, match="on the device alone"):
        follow(runner, Told())
