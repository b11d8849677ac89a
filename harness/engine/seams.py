"""All that is needed of the inside of vLLM, and where it is not there.

Both of vLLM's model runners are followed, by what they have and not by their number:

    execute_model(scheduler_output, …)      both; ``scheduled_new_reqs`` come, ``finished_req_ids``
                                            go, each with its ``sampling_params``
    _prepare_inputs(scheduler_output, n)    V1; lays a step's tokens out as ``input_batch.req_ids``
                                            says, n [requests] of each
    prepare_inputs(scheduler_output, …)     V2; gives an ``InputBatch`` with ``req_ids`` and
                                            ``query_start_loc_np``
    positions                               V1; ``input_buffers.positions`` of V2: where each token
                                            stands in its text, on the device

The host may know less than the device of where tokens stand: with asynchronous scheduling, drafts
are not yet judged when the next step is laid out. So positions are read on the device alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

Counts = np.ndarray[Any, np.dtype[Any]]


def need(owner: Any, *names: str) -> None:
    """Refuse a vLLM in which something has moved.

    Args:
        owner: A module, a class or an object of vLLM's.
        *names: Its attributes, dotted where they lie deeper.

    Raises:
        HarnessError: One is not there; the message names it.
    """
    for name in names:
        found = owner
        for step in name.split("."):
            if not hasattr(found, step):
                home = getattr(owner, "__name__", type(owner).__name__)
                raise _moved(f"no {home}.{name}")
            found = getattr(found, step)


def takes(function: Callable[..., Any], *parameters: str) -> None:
    """Refuse a vLLM in which a function is called otherwise, or a class has other fields.

    Args:
        function: A function, method or data class of vLLM's.
        *parameters: What it must take; there may be more.

    Raises:
        HarnessError: It does not take one of them; the message names it.
    """
    known = signature(function).parameters
    for name in parameters:
        if name not in known:
            raise _moved(f"no {name} in {function.__qualname__}(…)")


def _moved(missing: str) -> HarnessError:
    from vllm import __version__

    return HarnessError(
        f"this vLLM ({__version__}) has {missing}, which paperharness needs: install one of the "
        "extra paperharness[vllm]"
    )


class Follower(Protocol):
    """What is told of an engine's requests and steps, in a worker."""

    def comes(self, request: str, sampling: Any) -> None:
        """A request begins, or begins anew; ``sampling`` are its parameters, None of a pooling."""

    def goes(self, request: str) -> None:
        """A request has ended; one that never came may be named."""

    def steps(self, requests: Sequence[str], counts: Counts) -> None:
        """A step is laid out and runs next.

        Args:
            requests: Ids, in the order of the step's tokens.
            counts: Tokens of each. [requests]
        """


def follow(runner: Any, follower: Follower) -> None:
    """Tell someone of a runner's requests and steps, from now on.

    Raises:
        HarnessError: The runner is of a kind that cannot be followed.
    """
    need(runner, "execute_model")
    _tell_of_requests(runner, follower)
    if is_v2(runner):
        need(runner, "input_buffers.positions")
        if getattr(runner, "adaptive_verification", None) is not None:
            raise HarnessError("drafts are shared out on the device alone; switch that off")
        _tell_of_steps_v2(runner, follower)
    else:
        need(runner, "_prepare_inputs", "positions", "input_batch.req_ids")
        _tell_of_steps_v1(runner, follower)


def positions_of(runner: Any) -> Tensor:
    """Where each token of a step stands in its text, [tokens]; the same memory in every step."""
    found: Tensor = runner.input_buffers.positions if is_v2(runner) else runner.positions
    return found


def is_v2(runner: Any) -> bool:
    """Whether it is vLLM's model runner V2, or one that lays its steps out as that does."""
    return hasattr(runner, "prepare_inputs")


def _tell_of_requests(runner: Any, follower: Follower) -> None:
    stock = runner.execute_model

    @wraps(stock)
    def execute_model(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("dummy_run"):
            for request in scheduler_output.finished_req_ids:
                follower.goes(request)
            for new in scheduler_output.scheduled_new_reqs:
                follower.comes(new.req_id, new.sampling_params)
        return stock(scheduler_output, *args, **kwargs)

    runner.execute_model = execute_model


def _tell_of_steps_v1(runner: Any, follower: Follower) -> None:
    stock = runner._prepare_inputs

    @wraps(stock)
    def prepare(scheduler_output: Any, counts: Counts, *args: Any, **kwargs: Any) -> Any:
        found = stock(scheduler_output, counts, *args, **kwargs)
        requests = runner.input_batch.req_ids
        follower.steps(requests, counts)
        return found

    runner._prepare_inputs = prepare


def _tell_of_steps_v2(runner: Any, follower: Follower) -> None:
    stock = runner.prepare_inputs

    @wraps(stock)
    def prepare(*args: Any, **kwargs: Any) -> Any:
        batch = stock(*args, **kwargs)
        ends = batch.query_start_loc_np[: len(batch.req_ids) + 1]
        follower.steps(batch.req_ids, np.diff(ends))
        return batch

    runner.prepare_inputs = prepare
