"""Which request is steered, towards which concept, how, how much, and where.

Nothing here knows how a model is run; ``models`` adds that.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

from harness import DataError, HarnessError
from harness_axbench.activations.normalising import NONE, STANDARDISE, UNIT
from harness_axbench.dictionary.folder import Dictionary, read
from harness_axbench.dictionary.kinds import STEERING, VECTORS
from harness_axbench.requests import names_concept
from harness_axbench.steering.positions import ALL, Positions
from harness_axbench.steering.selected import selected_factors
from harness_axbench.steering.steering import ADD, CLAMP, KINDS, MIN_CLAMP, NULL_OUT, Steering

log = logging.getLogger(__name__)

EACH = "each"
"""``concept=each``: row i of a task is steered by concept i mod C, C concepts in order."""


@dataclass(frozen=True)
class Plan:
    """A dictionary's method, ready to be applied to requests.

    Attributes:
        found: The dictionary.
        method: The method's name.
        intervention: How it steers.
        positions: Where.
        everywhere: The steering of rows that name no concept; None leaves them alone.
        each: In its place one for each concept, for the rows in turn.
    """

    found: Dictionary
    method: str
    intervention: str = ADD
    positions: str = ALL
    everywhere: Steering | None = None
    each: tuple[Steering, ...] = ()

    @property
    def edit(self) -> dict[str, str]:
        """What a factor is a factor of: it says nothing of another edit."""
        return {
            "artefact_hash": self.found.sha256,
            "method": self.method,
            "intervention": self.intervention,
            "positions": self.positions,
        }

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

    def under(self, intervention: str, positions: str) -> Plan:
        """The same method, steering in another way and elsewhere.

        Raises:
            HarnessError: There is no such intervention or position, or not for this method.
        """
        if intervention not in KINDS:
            raise HarnessError(f"intervention={intervention} is not one of {', '.join(KINDS)}")
        Positions.parse(positions)
        if intervention in cannot_under(self.found.facts(self.method).get("normalise")):
            raise HarnessError(
                f"intervention={intervention}: {self.method} reads normalised states, of which "
                f"that is not defined; use {ADD}, or train with --normalise {NONE}"
            )
        if self.kind != VECTORS and (intervention, positions) != (ADD, ALL):
            raise HarnessError(
                f"{self.method} has no directions: intervention= and positions= do not apply"
            )
        return replace(self, intervention=intervention, positions=positions)

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
    concept: int | str | None,
    factor: float | None,
    *,
    factors: str | None = None,
    intervention: str = ADD,
    positions: str = ALL,
    model: str = "hf-steered",
) -> Plan:
    """The plan that a model's arguments ask for.

    Raises:
        HarnessError: ``steering`` is missing, the dictionary or the method is not there, an
            argument has no such value, or one of ``concept`` and ``factor`` is missing.
        DataError: ``factors`` is no run to take factors from.
    """
    if not steering:
        stock = model.replace("-steered", "").replace("steered-", "local-")
        raise HarnessError(
            f"{model} needs steering=DIR, a dictionary made by: harness axbench train --model "
            f"MODEL --layer LAYER --out DIR (for an unsteered model use --model {stock})"
        )
    found = read(str(steering))
    if method is None:
        if len(found.methods) > 1:
            raise HarnessError(f"{steering}: pass method=, one of {', '.join(found.methods)}")
        method = found.methods[0]
    plan = Plan(found, method).under(intervention, positions)
    _check_number("factor", factor, (int, float))
    if concept == EACH:
        return replace(plan, each=_of_each(plan, factor, factors))
    _check_number("concept", concept, (int,))
    if factors:
        raise HarnessError("factors=RUN goes with concept=each; with concept=ID pass factor=F")
    if concept is None and factor is None:
        return plan
    if concept is None or (factor is None and not plan.factorless):
        raise HarnessError(
            "concept= and factor= steer every row together; pass both or neither (concept=each "
            "steers the rows by all concepts in turn)"
        )
    return replace(plan, everywhere=plan.steering(int(concept), factor))


def cannot_under(normalise: str | None) -> tuple[str, ...]:
    """Interventions that ask for a score, or a direction, that the states' scale does not have.

    A score of states of one length does not rise by what is added; and what ``null_out`` takes out
    is read and written along one direction, as ``standardise`` does not.
    """
    return {UNIT: (CLAMP, MIN_CLAMP, NULL_OUT), STANDARDISE: (NULL_OUT,)}.get(normalise or NONE, ())


def _check_number(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    sound = isinstance(value, kinds) and not isinstance(value, bool)
    if value is not None and not (sound and math.isfinite(value)):
        what = "a whole number, or each" if name == "concept" else "a number"
        raise HarnessError(f"{name}={value}: write {what}")


def _of_each(plan: Plan, factor: float | None, factors: str | None) -> tuple[Steering, ...]:
    """The steering towards each concept that the method covers, in the dictionary's order."""
    if factor is not None and factors:
        raise HarnessError("factor= and factors= both say how strongly to steer; pass one of them")
    numbers = plan.found.covered(plan.method)
    if not factors:
        if factor is None and not plan.factorless:
            raise HarnessError(
                "concept=each needs to be told how strongly to steer: factors=RUN, a run of "
                "axbench_steer, takes the factor that was selected for each concept; factor=F is "
                "the same for all"
            )
        return tuple(plan.steering(number, factor) for number in numbers)
    chosen = selected_factors(str(factors), plan.edit)
    if strange := chosen.keys() - set(numbers):
        raise DataError(f"factors={factors}: {plan.found.folder} has no concept {min(strange)}")
    if len(chosen) < len(numbers):
        log.warning(
            "factors=%s has %d of the dictionary's %d concepts; concept=each is over those",
            factors,
            len(chosen),
            len(numbers),
        )
    return tuple(plan.steering(number, chosen[number]) for number in numbers if number in chosen)


def choose(plan: Plan, request: Any, warned: set[str]) -> Steering | None:
    """How one request is steered; rows that name no concept follow the plan's default.

    Args:
        plan: The method and the run's default.
        request: An lm-eval ``Instance``.
        warned: Tasks already warned about; added to.

    Raises:
        HarnessError: A row names a concept and no factor, and the method steers by one; or rows
            are to be steered in turn and have no number.
    """
    if not names_concept(request):
        return _in_turn(plan, request) if plan.each else _by_default(plan, request, warned)
    doc = request.doc
    if doc.get("factor") is None and not plan.factorless:
        raise HarnessError(
            f"{request.task_name}: its rows have a concept and no factor, as for a model that does "
            f"not steer; tell the task: metadata={{'steering': '{plan.found.folder}'}}"
        )
    factor = None if doc.get("factor") is None else float(doc["factor"])
    return plan.steering(int(doc["concept_id"]), factor)


def _in_turn(plan: Plan, request: Any) -> Steering:
    """By the document's number: all requests of a document are steered alike."""
    if not isinstance(request.doc_id, int):
        raise HarnessError(
            f"{request.task_name}: its rows have no number, by which concept=each steers them"
        )
    return plan.each[request.doc_id % len(plan.each)]


def _by_default(plan: Plan, request: Any, warned: set[str]) -> Steering | None:
    task = str(request.task_name)
    if plan.everywhere is None and task not in warned:
        warned.add(task)
        log.warning(
            "%s: its rows name no concept, %s is applied to none of them and the results are the "
            "plain model's; in --model_args concept=ID,factor=F steers all of them, concept=each "
            "by all concepts in turn",
            task,
            plan.method,
        )
    return plan.everywhere
