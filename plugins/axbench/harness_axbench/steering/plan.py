"""Which request is steered, towards which concept, how, how much, and where.

Nothing here knows how a model is run; ``models`` adds that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness import HarnessError
from harness_axbench.dictionary.folder import Dictionary, read
from harness_axbench.dictionary.kinds import STEERING, VECTORS
from harness_axbench.steering.positions import ALL, Positions
from harness_axbench.steering.steering import ADD, KINDS, NULL_OUT, Steering

log = logging.getLogger(__name__)


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

    found: Dictionary
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
        return self.kind in STEERING

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
        return Steering(
            method=self.method,
            concept_id=concept_id,
            factor=factor,
            max_act=self.found.unit(self.method, place),
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
    found = read(str(steering))
    if method is None:
        if len(found.methods) > 1:
            raise HarnessError(f"{steering}: pass method=, one of {', '.join(found.methods)}")
        method = found.methods[0]
    if intervention not in KINDS:
        raise HarnessError(f"intervention={intervention} is not one of {', '.join(KINDS)}")
    Positions.parse(positions)
    plan = Plan(found, method, intervention, positions)
    if plan.kind != VECTORS and (intervention, positions) != (ADD, ALL):
        raise HarnessError(f"{method} has no directions: intervention= and positions= do not apply")
    for name, value, kinds in (("concept", concept, (int,)), ("factor", factor, (int, float))):
        sound = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not sound:
            raise HarnessError(
                f"{name}={value}: write {'a whole' if name == 'concept' else 'a'} number"
            )
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
                "%s: its rows name no concept, %s is applied to none of them and the results are "
                "the plain model's; concept=ID,factor=F in --model_args steers all of them",
                task,
                plan.method,
            )
        return plan.everywhere
    if doc.get("factor") is None and not plan.factorless:
        raise HarnessError(
            f"{request.task_name}: its rows have a concept and no factor, as for a model that does "
            f"not steer; tell the task: metadata={{'steering': '{plan.found.folder}'}}"
        )
    factor = None if doc.get("factor") is None else float(doc["factor"])
    return plan.steering(int(doc["concept_id"]), factor)
