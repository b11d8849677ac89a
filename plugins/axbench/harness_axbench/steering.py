"""Which request is steered, by how much, and which answers are already known.

Nothing here knows how a model is run; ``hf_model`` adds that for transformers models.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.responses import Completion, Score
from harness.store import Store, key_of
from harness_axbench import dictionary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steering:
    """What is done to one request: h ← h + factor · max_act · w, at every position."""

    method: str
    concept_id: int
    factor: float
    max_act: float
    layer: int
    place: int

    @property
    def scale(self) -> float:
        """The multiple of the unit vector that is added."""
        return self.factor * self.max_act

    def trace(self) -> dict[str, Any]:
        """What a sample's record says of it."""
        return {
            "method": self.method,
            "concept_id": self.concept_id,
            "factor": self.factor,
            "max_act": self.max_act,
            "layer": self.layer,
        }


class SteeredPrompt(str):
    """A prompt that carries its steering and its key through lm-eval's sorting and batching."""

    steering: Steering | None
    key: str | None

    def __new__(cls, text: str, steering: Steering | None, key: str | None) -> SteeredPrompt:
        self = super().__new__(cls, text)
        self.steering, self.key = steering, key
        return self


class Recorder:
    """Stands in for lm-eval's cache hook: writes each answer down as it arrives."""

    dbdict = None

    def __init__(self, store: Store | None) -> None:
        self._store = store

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:
        """Called by lm-eval's models for every answer; ``request[0]`` is the prompt."""
        prompt = request[0]
        if self._store is not None and isinstance(prompt, SteeredPrompt) and prompt.key:
            self._store.put(prompt.key, answer)


@dataclass(frozen=True)
class Plan:
    """A dictionary's method, ready to be applied to requests.

    Attributes:
        found: The dictionary.
        method: The method's name.
        everywhere: The steering of rows that name no concept; None leaves them alone.
    """

    found: dictionary.Dictionary
    method: str
    everywhere: Steering | None = None

    @property
    def steers(self) -> bool:
        """Whether the method can steer, or only scores texts."""
        return bool(self.found.facts(self.method)["kind"] == dictionary.VECTORS)

    def steering(self, concept_id: int, factor: float) -> Steering:
        """The steering towards a concept.

        Raises:
            HarnessError: The method cannot steer, or the dictionary lacks the concept.
        """
        if not self.steers:
            raise HarnessError(
                f"method={self.method} scores texts and cannot steer; it is for axbench_detect"
            )
        place = self.found.place(concept_id)
        max_act = float(self.found.facts(self.method)["max_act"][place])
        return Steering(self.method, concept_id, factor, max_act, self.found.layer, place)


def make_plan(
    steering: str | None, method: str | None, concept: int | None, factor: float | None
) -> Plan:
    """The plan that a model's arguments ask for.

    Raises:
        HarnessError: ``steering`` is missing, the dictionary or the method is not there, or only
            one of ``concept`` and ``factor`` is given.
    """
    if not steering:
        raise HarnessError(
            "hf-steered needs steering=DIR, a dictionary made by: harness axbench train --model "
            "MODEL --layer LAYER --out DIR (for an unsteered model use --model hf)"
        )
    found = dictionary.read(steering)
    if method is None:
        if len(found.methods) > 1:
            raise HarnessError(f"{steering}: pass method=, one of {', '.join(found.methods)}")
        method = found.methods[0]
    plan = Plan(found, method)
    if (concept is None) != (factor is None):
        raise HarnessError("concept= and factor= steer every row together; pass both or neither")
    if concept is None or factor is None:
        found.facts(method)
        return plan
    return replace(plan, everywhere=plan.steering(int(concept), float(factor)))


def choose(plan: Plan, request: Any, warned: set[str]) -> Steering | None:
    """How one request is steered; rows that name no concept follow the plan's default.

    Args:
        plan: The method and the run's default.
        request: An lm-eval ``Instance``.
        warned: Tasks already warned about; added to.

    Raises:
        HarnessError: A row names a concept and no factor.
    """
    doc = request.doc if isinstance(request.doc, Mapping) else {}
    if doc.get("concept_id") is None:
        task = str(request.task_name)
        if plan.everywhere is None and task not in warned:
            warned.add(task)
            log.warning(
                "%s: its rows name no concept and are answered unsteered; concept=ID,factor=F in "
                "--model_args steers all of them",
                task,
            )
        return plan.everywhere
    if doc.get("factor") is None:
        raise HarnessError(
            f"{request.task_name}: its rows have a concept and no factor, as for a model that does "
            f"not steer; tell the task: metadata={{'steering': '{plan.found.folder}'}}"
        )
    return plan.steering(int(doc["concept_id"]), float(doc["factor"]))


def wants_detection(request: Any) -> bool:
    """Whether a request asks for a concept's score of a text, instead of for words."""
    return isinstance(request.doc, Mapping) and bool(request.doc.get("detect"))


class Answers:
    """Answers by content key: what is known is not asked again, what is new is written down.

    Args:
        path: The file of the store; None keeps nothing.
        identity: What all answers of this model depend on, JSON-able.
    """

    def __init__(self, path: str | None, identity: Mapping[str, Any]) -> None:
        self._identity = dict(identity)
        self.store = Store(Path(path).expanduser()) if path else None

    def keys(self, parts: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """A key for each request; equal requests of a call are told apart by their number."""
        if self.store is None:
            return [None] * len(parts)
        seen: Counter[str] = Counter()
        keys: list[str | None] = []
        for part in parts:
            base = key_of(**self._identity, **part)
            keys.append(key_of(base=base, repeat=seen[base]))
            seen[base] += 1
        return keys

    def complete(
        self,
        requests: Sequence[Any],
        steerings: Sequence[Steering | None],
        parts: Sequence[Mapping[str, Any]],
        ask: Callable[[list[Any]], list[Any]],
    ) -> list[Any]:
        """Answers to all requests, asking only for those that are not known.

        Args:
            requests: lm-eval ``Instance`` objects.
            steerings: How each is steered.
            parts: What each request's answer depends on.
            ask: Runs the model on requests whose prompts are ``SteeredPrompt``.
        """
        keys = self.keys(parts)
        store: Mapping[str, Any] = {} if self.store is None else self.store
        missing = [i for i, key in enumerate(keys) if key not in store]
        asked = []
        for i in missing:
            prompt, *rest = requests[i].args
            wrapped = SteeredPrompt(prompt, steerings[i], keys[i])
            asked.append(replace(requests[i], arguments=(wrapped, *rest)))
        fresh = dict(zip(missing, ask(asked) if asked else [], strict=True))
        for i, answer in fresh.items():
            if self.store is not None:
                self.store.put(str(keys[i]), answer)  # where the model did not do it on the way
        return [fresh[i] if i in fresh else store[str(key)] for i, key in enumerate(keys)]


def in_groups(
    requests: Sequence[Any],
    under: Callable[[Steering | None], AbstractContextManager[None]],
    ask: Callable[[list[Any]], list[Any]],
) -> list[Any]:
    """Ask group by group of equal steering, each group under its own context."""
    groups: dict[Steering | None, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.args[0].steering, []).append(i)
    answers: list[Any] = [None] * len(requests)
    for steering, members in groups.items():
        with under(steering):
            for i, answer in zip(members, ask([requests[i] for i in members]), strict=True):
                answers[i] = answer
    return answers


def with_trace(answer: Any, steering: Steering | None) -> Any:
    """An answer that says how it was steered; an unsteered one as it is."""
    if isinstance(answer, str):
        return Completion(answer, steering.trace() if steering else None)
    if isinstance(answer, (tuple, list)):
        return Score(float(answer[0]), bool(answer[1]), steering.trace() if steering else None)
    return answer
