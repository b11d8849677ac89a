"""The part of ``vllm-speculative`` with ``invariant=true`` that runs inside vLLM's workers.

One remote call (``harness.engine.worker``) puts the drafter-invariant sampler (``vllm_sampler``) in
the place of vLLM's own, in the model runner that the engine has chosen: V1 (``vllm_runner``) or V2
(``vllm_runner_v2``). Each names what it needs of vLLM; a vLLM in which one of these has moved is
refused with its name. None of them lies inside a CUDA graph or a compiled model.

Under tensor parallelism each rank picks the same tokens from the same scores.
"""

from __future__ import annotations

from typing import Any

from harness.engine.seams import is_v2
from harness_specdecode.models.vllm_runner import RunnerSampler, SamplerV1
from harness_specdecode.models.vllm_runner_v2 import SamplerV2

_NAME = "speculative"  # of what is kept in a worker


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
    found: dict[str, int] = worker.harness_parts[_NAME].sampler.take_counts()
    return found


def attach(runner: Any, seed: int) -> RunnerSampler:
    """Put the sampler into a model runner.

    Raises:
        HarnessError: Something that the sampler needs of vLLM has moved.
    """
    return (SamplerV2 if is_v2(runner) else SamplerV1)(runner, seed)
