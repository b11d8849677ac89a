"""What every steering wrapper does around an lm-eval model, whatever runs that model.

It chooses each request's steering, asks only for answers that are not known, writes down how each
came about, and refuses lm-eval's ``--use_cache``, which keeps answers by prompt alone and would
give one concept's answer for another's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from harness import Wrapper, traced
from harness.artefacts.checksums import fingerprint
from harness.models.answers import Answers, Recorder
from harness_axbench.requests import STEERING
from harness_axbench.steering.plan import Plan, choose
from harness_axbench.steering.steering import Steering

Ask = Callable[[list[Any]], list[Any]]  # runs the model on requests

log = logging.getLogger(__name__)


class SteeringWrapper(Wrapper):
    """Put in front of an lm-eval model's class; the class in between sets these attributes.

    Attributes:
        plan: What the run steers with.
        answers: The answers that are known.
    """

    no_use_cache = (
        " and would mix up steered answers; use --model_args …,response_cache=FILE instead"
    )
    plan: Plan
    answers: Answers
    _warned: set[str]
    _perplexity: bool
    _used: bool = False  # whether the method has had a part in any answer

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model; lm-eval asks when all is answered.

        A run whose rows name no concept is the unsteered model's, and says so.
        """
        everywhere = self.plan.everywhere
        stock: Callable[[], dict[str, Any]] = getattr(super(), "get_model_info", dict)
        if not self._used and everywhere is None:
            return stock() | {"method": "", "method_args": {}}
        return stock() | {
            "method": self.plan.method,
            "method_args": everywhere.trace() if everywhere else {},
            "artefact_hash": self.plan.found.sha256,
            "layer": self.plan.found.layer if self.plan.steers else None,
            "intervention": self.plan.intervention,
            "positions": self.plan.positions,
        }

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().generate_until
        steerings, answers = self._answer(
            "generate_until",
            requests,
            lambda rows: self._generated(rows, lambda some: stock(some, disable_tqdm=disable_tqdm)),
        )
        surprise = self._perplexities(requests, steerings, answers)
        return [
            traced(answer, **(steering.trace() if steering else {}), **more)
            for answer, steering, more in zip(answers, steerings, surprise, strict=True)
        ]

    def _generated(self, rows: list[Any], ask: Ask) -> list[Any]:
        """Answers to requests whose prompts carry their steering; all at once, here."""
        return ask(rows)

    def _answer(
        self, kind: str, requests: Sequence[Any], ask: Ask
    ) -> tuple[list[Steering | None], list[Any]]:
        """How each request is steered, and its answer, asking only for those that are missing."""
        steerings = [choose(self.plan, request, self._warned) for request in requests]
        parts = [
            self._part(kind, request, steering)
            for request, steering in zip(requests, steerings, strict=True)
        ]
        self._used |= any(steering is not None for steering in steerings)
        with self._recording():
            notes = [{STEERING: steering} for steering in steerings]
            return steerings, self.answers.complete(requests, notes, parts, ask)

    def _part(self, kind: str, request: Any, steering: Steering | None) -> dict[str, Any]:
        """What a request's answer depends on."""
        prompt, *rest = request.args
        part = {
            "kind": kind,
            "prompt": str(prompt),
            "rest": rest,
            "steering": steering.trace() if steering else None,
        }
        sampling = rest[0] if rest and isinstance(rest[0], Mapping) else {}
        if sampling.get("do_sample") or sampling.get("temperature"):
            part["seed"] = self._seed()
        return part

    def _seed(self) -> int:
        """What sampled answers depend on."""
        return torch.initial_seed()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        stock, self.cache_hook = self.cache_hook, Recorder(self.answers.store)
        try:
            yield
        finally:
            self.cache_hook = stock

    def _perplexities(
        self, requests: Sequence[Any], steerings: Sequence[Steering | None], answers: Sequence[str]
    ) -> list[dict[str, float]]:
        """exp(−log P / tokens) of each answer under the unsteered model, as an entry of its trace.

        An empty answer has none.
        """
        found: list[dict[str, float]] = [{} for _ in requests]
        if not self._perplexity:
            return found
        chosen = [i for i, s in enumerate(steerings) if s is not None and answers[i]]
        asked = [
            replace(
                requests[i],
                request_type="loglikelihood",
                arguments=(requests[i].args[0], answers[i]),
            )
            for i in chosen
        ]
        parts = [self._part("perplexity", row, None) for row in asked]
        plain: list[dict[str, Any]] = [{}] * len(asked)
        with self._recording():
            scores = self.answers.complete(asked, plain, parts, super().loglikelihood)
        for i, scored in zip(chosen, scores, strict=True):
            tokens = len(self._encode_pair(requests[i].args[0], answers[i])[1])
            if tokens:
                found[i] = {"perplexity": math.exp(-scored[0] / tokens)}
        return found


def identity_of(plan: Plan, path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What all answers of a run depend on.

    Args:
        plan: What it steers with.
        path: The model's id or path.
        settings: Further facts about the model and how it is run; kept as text.
    """
    return {
        "model": fingerprint(path) or path,
        "settings": {key: str(value) for key, value in settings.items()},
        "artefact": plan.found.sha256,
        "method": plan.method,
    }


def warn_of_other_weights(plan: Plan, name: str, path: str) -> None:
    """Warn where a dictionary was trained on other weights of the same shape."""
    trained = plan.found.manifest["model"]
    if name == trained["name"]:
        return
    own = fingerprint(path)
    if own is None or own != trained.get("sha256"):
        log.warning(
            "the dictionary %s was trained on %s; %s has the same width and other weights",
            plan.found.folder,
            trained["name"],
            name,
        )
