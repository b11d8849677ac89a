"""What passes cost on this machine, and all else that a round does, each timed by itself.

All are timed in turn, in an order that changes; the shortest of several times counts, as all else
that a machine does can only add to it. Passes are of full batches, with prompts and half of an
answer in the cache. What a round does besides (drawing, checking, writing) is timed by the decoder
itself, with scores in hand in the place of models.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness._version import __version__
from harness_specdecode.couplings.theory import Costs
from harness_specdecode.decoding.decoder import Decoder
from harness_specdecode.decoding.drafters import Drafter, ModelDrafter, NoDrafter, certain
from harness_specdecode.decoding.rounds import Request, Round
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.schemes import Draft, scheme_for
from harness_specdecode.decoding.slots import SlotModel

LIBRARIES = ("torch", "transformers", "lm_eval")
TIMES = 25
"""How often each is timed."""
_ROUNDS = 4
"""Rounds of the decoder in one timing."""

Seconds = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is decoded, on average.

    Args:
        batch_size: Rows.
        prompt: Tokens of a prompt.
        answer: Tokens of an answer.
    """

    batch_size: int
    prompt: int
    answer: int


def measure(
    model: Any,
    drafters: Sequence[str],
    shape: Shape,
    sampling: Sampling,
    *,
    schemes: Sequence[str],
    gammas: Sequence[int],
    times: int = TIMES,
) -> Seconds:
    """Time everything that a round is made of.

    Args:
        model: A loaded ``hf-speculative`` model.
        drafters: Names of drafters; those without a model cost nothing.
        shape: What is decoded.
        sampling: How scores are made of logits.
        schemes: Schemes to draw and check by.
        gammas: Tokens drafted a round.
        times: How often each is timed.

    Returns:
        Seconds: ``pass:W`` of the target over W tokens a row, ``draft:NAME`` of a drafter over one,
        ``prefill`` and ``prefill:NAME`` of a batch of prompts, ``rest:SCHEME:γ`` of a round without
        its passes where a model drafts, ``rest:SCHEME:γ:given`` where none does; γ = 0 is plain.
    """
    jobs = _passes(model.model, "", shape, sorted({1, *(gamma + 1 for gamma in gammas)}))
    for name in drafters:
        drafting = model.source(name).model
        if drafting is not None:
            jobs |= _passes(drafting, name, shape, [1])
    for scheme in schemes:
        jobs[f"rest:{scheme}:0"] = _rest(model, shape, sampling, scheme, 0, drawn=False)
        for gamma in gammas:
            for drawn, end in ((True, ""), (False, ":given")):
                label = f"rest:{scheme}:{gamma}{end}"
                jobs[label] = _rest(model, shape, sampling, scheme, gamma, drawn=drawn)
    best = dict.fromkeys(jobs, float("inf"))
    order, shuffled = list(jobs), random.Random(0)
    with torch.inference_mode():
        for _ in range(times):
            shuffled.shuffle(order)
            for name in order:
                best[name] = min(best[name], _timed(model, jobs[name]))
    share = 1 + _ROUNDS  # the first token is drawn by itself
    return {name: s / share if name.startswith("rest:") else s for name, s in best.items()}


def costs_of(seconds: Seconds, shape: Shape, *, drafter: str, scheme: str, gamma: int) -> Costs:
    """The prices of one way to decode, in passes of the target over one token a row."""
    unit = seconds["pass:1"]
    given = "" if f"draft:{drafter}" in seconds or not gamma else ":given"
    return Costs(
        draft=seconds.get(f"draft:{drafter}", 0.0) / unit,
        verify=seconds[f"pass:{gamma + 1}"] / unit,
        rest=seconds[f"rest:{scheme}:{gamma}{given}"] / unit,
        plain_rest=seconds[f"rest:{scheme}:0"] / unit,
        prefill=seconds["prefill"] / unit / shape.answer,
        draft_prefill=seconds.get(f"prefill:{drafter}", 0.0) / unit / shape.answer,
    )


def _passes(
    network: Any, name: str, shape: Shape, widths: Sequence[int]
) -> dict[str, Callable[[], object]]:
    """Passes of a model over some widths, and its reading of a batch of prompts."""
    rows, held = shape.batch_size, shape.prompt + shape.answer // 2
    slots = SlotModel(network, rows=rows, capacity=held + max(widths))
    slots.prefill(range(rows), [[0] * held] * rows)
    starts = [held - row % 2 for row in range(rows)]  # rows are seldom of one length
    prompts = [[0] * shape.prompt] * rows

    def passed(width: int) -> Callable[[], object]:
        ids = torch.zeros(rows, width, dtype=torch.int64)
        return lambda: slots.step(ids, starts)

    jobs = {f"draft:{name}" if name else f"pass:{width}": passed(width) for width in widths}
    return jobs | {
        f"prefill:{name}" if name else "prefill": lambda: slots.prefill(range(rows), prompts)
    }


class _Scores(SlotModel):
    """Logits in hand: passes that cost nothing."""

    def __init__(self, model: Any, logits: Tensor, capacity: int) -> None:
        super().__init__(model, rows=len(logits), capacity=capacity)
        self._logits = logits.unsqueeze(1)

    def prefill(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        return

    def read(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        return self._logits[: len(prompts), 0]

    def move(self, source: int, goal: int, length: int) -> None:
        return

    def step(self, ids: Tensor, starts: Sequence[int], beside: Tensor | None = None) -> Tensor:
        return self._logits[: len(ids)].expand(-1, ids.shape[1], -1)


class _Given(Drafter):
    """Tokens that are at hand."""

    def propose(self, current: Round) -> Draft:
        return certain([[0] * count for count in current.counts])


def _rest(
    model: Any, shape: Shape, sampling: Sampling, scheme: str, gamma: int, *, drawn: bool
) -> Callable[[], object]:
    """Some rounds of a decoder whose passes cost nothing."""
    rows, length = shape.batch_size, 1 + _ROUNDS * (gamma + 1)
    vocabulary = int(model.model.config.get_text_config().vocab_size)
    logits = torch.zeros(rows, vocabulary, dtype=model.model.dtype, device=model.device)
    if not drawn:
        logits[:, 0] = 1e4  # what is given is right
    asked = [Request([0], row, length) for row in range(rows)]

    def job() -> None:
        scores = _Scores(model.model, logits, length)
        drafter = ModelDrafter(scores, 0.0) if drawn else _Given() if gamma else NoDrafter()
        decoder = Decoder(
            scores,
            drafter,
            scheme_for(scheme, model.noise, greedy=sampling.greedy),
            sampling,
            gamma=max(1, gamma),
        )
        calls = {answer.target_calls for _, answer in decoder.run(asked)}
        assert calls == {1 + _ROUNDS}, "scores in hand agree with themselves"

    return job


def _timed(model: Any, call: Callable[[], object]) -> float:
    """Seconds of a call, all that it asks of the device included."""
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(model.device)
    started = time.perf_counter()
    call()
    if cuda:
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - started


def machine(model: Any) -> dict[str, Any]:
    """What a measurement depends on besides its options."""
    device = model.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": str(device),
        "hardware": name,
        "threads": torch.get_num_threads(),
        "dtype": str(model.model.dtype).removeprefix("torch."),
        "versions": {"paperharness": __version__} | {n: metadata.version(n) for n in LIBRARIES},
    }


def _processor() -> str:
    """The processor's name, as Linux tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
