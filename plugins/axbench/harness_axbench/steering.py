"""Which request is steered, by how much, and which answers are already known.

Nothing here knows how a model is run; ``hf_model`` adds that for transformers models.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.responses import Completion, Score
from harness.store import Store, key_of
from harness_axbench import dictionary
from harness_axbench.interventions import ADD, KINDS, NULL_OUT
from harness_axbench.positions import ALL, Positions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steering:
    """What is done to one request: which concept, how, how much, and where.

    Attributes:
        method: Name of the method.
        concept_id: The concept's number in the data set.
        factor: Multiple of max_act; None for what has no factor.
        max_act: The concept's unit.
        layer: The block whose output is edited.
        place: The concept's row in the dictionary.
        intervention: One of ``interventions.KINDS``.
        positions: As ``positions.Positions.parse`` reads it.
    """

    method: str
    concept_id: int
    factor: float | None
    max_act: float
    layer: int
    place: int
    intervention: str = ADD
    positions: str = ALL

    @property
    def scale(self) -> float:
        """The multiple of w that an addition adds; 0 without a factor."""
        return 0.0 if self.factor is None else self.factor * self.max_act

    def trace(self) -> dict[str, Any]:
        """What a sample's record says of it."""
        return {
            "method": self.method,
            "concept_id": self.concept_id,
            "factor": self.factor,
            "max_act": self.max_act,
            "layer": self.layer,
            "intervention": self.intervention,
            "positions": self.positions,
        }


class SteeredPrompt(str):
    """A prompt that carries what is its own through lm-eval's sorting and batching.

    Attributes:
        steering: How it is steered.
        key: Of its answer in the store.
        seed: Of whatever is drawn for its answer.
    """

    steering: Steering | None
    key: str
    seed: int

    def __new__(cls, text: str, steering: Steering | None, key: str, seed: int) -> SteeredPrompt:
        self = super().__new__(cls, text)
        self.steering, self.key, self.seed = steering, key, seed
        return self


class Recorder:
    """Stands in for lm-eval's cache hook: writes each answer down as it arrives."""

    dbdict = None

    def __init__(self, store: Store | None) -> None:
        self._store = store

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:
        """Called by lm-eval's models for every answer; ``request[0]`` is the prompt."""
        prompt = request[0]
        if self._store is not None and isinstance(prompt, SteeredPrompt):
            self._store.put(prompt.key, answer)


@dataclass(frozen=True)
class Plan:
    """A dictionary's method, ready to be applied to requests.

    Attributes:
        found: The dictionary.
        method: The method's name.
        intervention: How it steers.
        positions: Where.
        everywhere: The steering of rows that name no concept; None leaves them alone.
    """

    found: dictionary.Dictionary
    method: str
    intervention: str = ADD
    positions: str = ALL
    everywhere: Steering | None = None

    @property
    def kind(self) -> str:
        """The kind of the method's artefact."""
        return str(self.found.facts(self.method)["kind"])

    @property
    def steers(self) -> bool:
        """Whether the method can steer."""
        return self.kind in dictionary.STEERING

    @property
    def factorless(self) -> bool:
        """Whether steering has no factor: edits of the model, and taking a direction out."""
        return self.found.facts(self.method).get("factors") == [] or self.intervention == NULL_OUT

    def steering(self, concept_id: int, factor: float | None) -> Steering:
        """The steering towards a concept.

        Raises:
            HarnessError: The method cannot steer, the dictionary lacks the concept, or a factor is
                missing.
        """
        if not self.steers:
            raise HarnessError(f"method={self.method} cannot steer; it is for axbench_detect")
        if self.factorless:
            factor = None
        elif factor is None:
            raise HarnessError(f"concept {concept_id}: {self.method} steers by a factor; pass one")
        place = self.found.place(concept_id)
        self.found.check_covers(self.method, concept_id)
        units = self.found.facts(self.method).get("max_act")
        return Steering(
            method=self.method,
            concept_id=concept_id,
            factor=factor,
            max_act=float(units[place]) if units else 1.0,
            layer=self.found.layer,
            place=place,
            intervention=self.intervention,
            positions=self.positions,
        )


def make_plan(
    steering: str | None,
    method: str | None,
    concept: int | None,
    factor: float | None,
    *,
    intervention: str = ADD,
    positions: str = ALL,
    model: str = "hf-steered",
) -> Plan:
    """The plan that a model's arguments ask for.

    Raises:
        HarnessError: ``steering`` is missing, the dictionary or the method is not there, an
            argument has no such value, or one of ``concept`` and ``factor`` is missing.
    """
    if not steering:
        stock = model.partition("-")[0]
        raise HarnessError(
            f"{model} needs steering=DIR, a dictionary made by: harness axbench train --model "
            f"MODEL --layer LAYER --out DIR (for an unsteered model use --model {stock})"
        )
    found = dictionary.read(steering)
    if method is None:
        if len(found.methods) > 1:
            raise HarnessError(f"{steering}: pass method=, one of {', '.join(found.methods)}")
        method = found.methods[0]
    if intervention not in KINDS:
        raise HarnessError(f"intervention={intervention} is not one of {', '.join(KINDS)}")
    Positions.parse(positions)
    plan = Plan(found, method, intervention, positions)
    if plan.kind != dictionary.VECTORS and (intervention, positions) != (ADD, ALL):
        raise HarnessError(f"{method} has no directions: intervention= and positions= do not apply")
    if concept is None and factor is None:
        return plan
    if concept is None or (factor is None and not plan.factorless):
        raise HarnessError("concept= and factor= steer every row together; pass both or neither")
    return replace(plan, everywhere=plan.steering(int(concept), factor))


def choose(plan: Plan, request: Any, warned: set[str]) -> Steering | None:
    """How one request is steered; rows that name no concept follow the plan's default.

    Args:
        plan: The method and the run's default.
        request: An lm-eval ``Instance``.
        warned: Tasks already warned about; added to.

    Raises:
        HarnessError: A row names a concept and no factor, and the method steers by one.
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
    if doc.get("factor") is None and not plan.factorless:
        raise HarnessError(
            f"{request.task_name}: its rows have a concept and no factor, as for a model that does "
            f"not steer; tell the task: metadata={{'steering': '{plan.found.folder}'}}"
        )
    factor = None if doc.get("factor") is None else float(doc["factor"])
    return plan.steering(int(doc["concept_id"]), factor)


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

    def keys(self, parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
        """A key and a seed for each request; equal requests are told apart by their number.

        The seed follows from the request alone, the key also from the model.
        """
        seen: Counter[str] = Counter()
        keys: list[tuple[str, int]] = []
        for part in parts:
            request = key_of(**part)
            own = key_of(base=request, repeat=seen[request])
            keys.append((key_of(**self._identity, request=own), int(own[:15], 16)))
            seen[request] += 1
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
        missing = [i for i, (key, _) in enumerate(keys) if key not in store]
        asked = []
        for i in missing:
            prompt, *rest = requests[i].args
            wrapped = SteeredPrompt(prompt, steerings[i], *keys[i])
            asked.append(replace(requests[i], arguments=(wrapped, *rest)))
        fresh = dict(zip(missing, ask(asked) if asked else [], strict=True))
        for i, answer in fresh.items():
            if self.store is not None:
                self.store.put(keys[i][0], answer)  # where the model did not do it on the way
        return [fresh[i] if i in fresh else store[key] for i, (key, _) in enumerate(keys)]


def in_groups(requests: Sequence[Any], ask: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Ask group by group of equal steering; each prompt carries its own."""
    groups: dict[Steering | None, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.args[0].steering, []).append(i)
    answers: list[Any] = [None] * len(requests)
    for members in groups.values():
        for i, answer in zip(members, ask([requests[i] for i in members]), strict=True):
            answers[i] = answer
    return answers


def with_trace(
    answer: Any, steering: Steering | None, more: Mapping[str, Any] | None = None
) -> Any:
    """An answer that says how it was steered; an unsteered one as it is.

    Args:
        answer: Words, or a log-probability and whether it is greedy.
        steering: How the request was steered.
        more: Further entries of the trace.
    """
    trace = {**steering.trace(), **(more or {})} if steering else None
    if isinstance(answer, str):
        return Completion(answer, trace)
    if isinstance(answer, (tuple, list)):
        return Score(float(answer[0]), bool(answer[1]), trace)
    return answer
