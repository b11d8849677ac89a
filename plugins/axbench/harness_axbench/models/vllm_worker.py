"""The part of ``vllm-steered`` that runs inside vLLM's workers.

One remote call (``harness.models.vllm_worker``) hands the worker the dictionary, once. From then on
a hook on one decoder block edits the tokens of every step. Which request a token belongs to is read
from the model runner's own batch, and how a request is steered from its sampling parameters, so
nothing is kept here about requests that have gone. Drafted tokens are tokens of a step as well, at
the positions behind those written.

The blocks of vLLM's models give ``(hidden, residual)``, whose sum is the block's output; some give
one tensor. Under tensor parallelism every rank holds that output whole, and edits it alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from harness import ArtefactError, HarnessError, block
from harness_axbench.dictionary.directions import Directions
from harness_axbench.dictionary.folder import read
from harness_axbench.models.vllm_batch import BatchEdits, Edit

_NEEDED = ("execute_model", "input_batch", "requests", "max_num_reqs", "max_num_tokens")


def load_steering(worker: Any, folder: str, method: str, sha256: str) -> None:
    """Steer from now on, with a method of a dictionary.

    Args:
        worker: vLLM's.
        folder: The dictionary's folder, on this machine.
        method: One of its methods of kind ``vectors``.
        sha256: Hash of the dictionary that the caller has read.

    Raises:
        HarnessError: As ``attach``.
    """
    attach(worker.model_runner, folder, method, sha256)


def attach(runner: Any, folder: str, method: str, sha256: str) -> None:
    """Put the hook on a model runner's block.

    Raises:
        HarnessError: The runner or the model is of a kind that is not supported, or the
            dictionary cannot be read or is another one than the caller's.
    """
    missing = [name for name in _NEEDED if not hasattr(runner, name)]
    if missing:
        raise HarnessError(
            f"vllm-steered works with vLLM's model runner V1; {type(runner).__name__} has no "
            f"{', '.join(missing)}"
        )
    found = read(folder)
    if found.sha256 != sha256:
        raise ArtefactError(f"{folder} is another dictionary on the workers' machine")
    edits = BatchEdits(
        Directions.load(found, method).to(runner.device),
        dtype=runner.model_config.dtype,
        max_requests=runner.max_num_reqs,
        max_tokens=runner.max_num_tokens,
    )
    hook = _Hook(runner, edits)
    block(runner.get_model(), found.layer).register_forward_hook(hook)
    runner.execute_model = hook.noting(runner.execute_model)


class _Hook:
    """Edits a block's output in the engine's steps, and in no profiling run."""

    def __init__(self, runner: Any, edits: BatchEdits) -> None:
        self._runner, self._edits = runner, edits
        self._scheduled: dict[str, int] | None = None

    def noting(self, execute_model: Any) -> Any:
        """The runner's ``execute_model``; while it runs, its step is known here."""

        def noted(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
            self._scheduled = scheduler_output.num_scheduled_tokens
            try:
                return execute_model(scheduler_output, *args, **kwargs)
            finally:
                self._scheduled = None

        return noted

    def __call__(self, _module: Any, _inputs: Any, output: Any) -> Any:
        if self._scheduled is None or not self._begin_step(self._scheduled):
            return None
        hidden, residual = _parts(output)
        flat = hidden.reshape(-1, hidden.shape[-1])  # transformers' own blocks keep a batch of one
        rest = None if residual is None else residual.reshape(flat.shape)
        edited = self._edits.apply(flat, rest).reshape(hidden.shape)
        return edited if isinstance(output, Tensor) else (edited, *output[1:])

    def _begin_step(self, scheduled: dict[str, int]) -> bool:
        batch = self._runner.input_batch
        requests = batch.req_ids
        counts = np.array([scheduled[request] for request in requests])
        starts = batch.num_computed_tokens_cpu[: len(requests)]
        return self._edits.begin_step(requests, starts, counts, self._edit_of)

    def _edit_of(self, request: str) -> Edit | None:
        sampling = self._runner.requests[request].sampling_params
        return None if sampling is None else Edit.of(sampling.extra_args)


def _parts(output: Any) -> tuple[Tensor, Tensor | None]:
    """``hidden`` and ``residual`` of a block's output.

    Raises:
        HarnessError: The output is of another form.
    """
    if isinstance(output, Tensor):
        return output, None
    if isinstance(output, tuple) and isinstance(output[0], Tensor):
        hidden, *rest = output
        if not rest or rest == [None]:
            return hidden, None
        if len(rest) == 1 and isinstance(rest[0], Tensor) and rest[0].shape == hidden.shape:
            return hidden, rest[0]
    raise HarnessError("vllm-steered does not know the form of this model's block outputs")
