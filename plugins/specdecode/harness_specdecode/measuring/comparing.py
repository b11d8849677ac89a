"""The same requests decoded in different ways by one loaded model, and what each way took.

    settings = model.settings({"max_gen_toks": 64, "temperature": 0})
    requests = [model.request(text, settings.length) for text in texts]
    with_drafter = decode(model, Decoding(drafter="ngram", gamma=4), requests, settings)
    plain = decode(model, Decoding(), requests, settings)
    plain.seconds / with_drafter.seconds        # the speed-up, where both wrote the same

The noise belongs to the requests' keys, so that all ways but ``leviathan`` write the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from harness import HarnessError
from harness.errors import meant
from harness_specdecode.decoding.arguments import check_gamma
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.rounds import Answer, Request
from harness_specdecode.decoding.schemes import GUMBEL, NAMES
from harness_specdecode.decoding.settings import Settings

_WARM_UP_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """One way to decode.

    Args:
        drafter: ``none``, ``ngram``, ``early:N``, a model id or path, or ``testbed:NAME``.
        gamma: Tokens drafted a round, at most.
        scheme: ``gumbel``, ``minhash`` or ``leviathan``.
        batch_size: Rows decoded together.
        adaptive: Whether fewer are drafted where that pays.

    Raises:
        HarnessError: A value is out of range.
    """

    drafter: str = NONE
    gamma: int = 5
    scheme: str = GUMBEL
    batch_size: int = 1
    adaptive: bool = False

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if self.scheme not in NAMES:
            raise HarnessError(f"scheme={self.scheme}: {meant(self.scheme, NAMES)}")
        if not _is_count(self.batch_size):
            raise HarnessError(f"batch_size={self.batch_size}: give at least 1")

    @property
    def name(self) -> str:
        """Short, for tables: ``ngram γ4 b8``; the scheme where it is not ``gumbel``."""
        drafting = f" γ{self.gamma}{' adaptive' * self.adaptive}" if self.drafter != NONE else ""
        scheme = f" {self.scheme}" if self.scheme != GUMBEL else ""
        return f"{self.drafter}{drafting}{scheme} b{self.batch_size}"

    @property
    def plain(self) -> Decoding:
        """The same without a drafter."""
        return replace(self, drafter=NONE, adaptive=False)


@dataclass(frozen=True)
class Run:
    """What one way of decoding gave.

    Args:
        decoding: The way.
        answers: In the order of the requests.
        seconds: Wall time of decoding all, reading the prompts included.
        target_passes: Forward passes of the target, of whole batches, the prompts' not counted.
        drafter_passes: Those of the drafter, likewise.
    """

    decoding: Decoding
    answers: list[Answer]
    seconds: float
    target_passes: int
    drafter_passes: int


def decode(
    model: Any,
    decoding: Decoding,
    requests: Sequence[Request],
    settings: Settings,
    *,
    warm_up: bool = False,
    on_answer: Callable[[], object] = lambda: None,
) -> Run:
    """Decode requests in one way.

    Args:
        model: A loaded ``hf-speculative`` model; it keeps the drafters that were opened.
        decoding: The way.
        requests: What is asked.
        settings: How tokens are drawn, and where answers end.
        warm_up: Decode some tokens of the first requests before, outside of the time.
        on_answer: Called at the end of each answer.

    Raises:
        HarnessError: The drafter cannot be opened.
    """
    longest = max(len(request.prompt) for request in requests)
    rows = min(decoding.batch_size, len(requests))
    decoder = model.decoder(replace(decoding, batch_size=rows), settings, longest)
    if warm_up:
        limit = _WARM_UP_ROUNDS * (1 if decoding.drafter == NONE else decoding.gamma + 1)
        first = [replace(r, limit=min(r.limit, limit)) for r in requests[: decoding.batch_size]]
        for _ in decoder.run(first):
            pass
    before = decoder.target.calls, decoder.drafter.calls
    started = _now(model)
    found = {}
    for place, answer in decoder.run(requests):
        found[place] = answer
        on_answer()
    return Run(
        decoding,
        [found[place] for place in range(len(requests))],
        _now(model) - started,
        decoder.target.calls - before[0],
        decoder.drafter.calls - before[1],
    )


def alike(keys: Iterable[object]) -> list[list[int]]:
    """Places of equal keys, in the order of their first; keys are compared by their JSON."""
    found: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(json.dumps(key, sort_keys=True, default=str), []).append(place)
    return list(found.values())


def _now(model: Any) -> float:
    """Seconds, after all that was asked of the device is done."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1
