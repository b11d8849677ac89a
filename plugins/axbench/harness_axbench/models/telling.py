"""What the results say of the steering of rows that name no concept themselves."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from harness.asking.store import key_of
from harness_axbench.steering.plan import EACH, Plan
from harness_axbench.steering.steering import Steering

log = logging.getLogger(__name__)


def by_default(plan: Plan) -> str:
    """How such rows are steered, behind the method's name; empty where they are left alone."""
    if plan.each:
        factor, same = plan.each[0].factor, len({one.factor for one in plan.each}) == 1
        if factor is None:
            return ", each concept"
        return f", each concept × {factor:g}" if same else ", each concept × its own factor"
    if plan.everywhere is None:
        return ""
    factor = plan.everywhere.factor
    return f", concept {plan.everywhere.concept_id}" + ("" if factor is None else f" × {factor:g}")


def arguments(plan: Plan) -> dict[str, Any]:
    """The same as a mapping. Factors that differ are named by their hash."""
    if not plan.each:
        return plan.everywhere.trace() if plan.everywhere else {}
    factors = {str(one.concept_id): one.factor for one in plan.each}
    same = len(set(factors.values())) == 1
    return {
        "method": plan.method,
        "concept_id": EACH,
        "factor": plan.each[0].factor if same else f"selected, {key_of(**factors)[:12]}",
        "layer": plan.found.layer,
        "intervention": plan.intervention,
        "positions": plan.positions,
    }


class InTurn:
    """Which concept each row had whose turn decided it."""

    def __init__(self) -> None:
        self._of_rows: dict[str, dict[int, int]] = {}  # by task and document

    def take(self, request: Any, steering: Steering) -> None:
        """Take down a row's concept; all requests of a row have the same."""
        self._of_rows.setdefault(str(request.task_name), {})[request.doc_id] = steering.concept_id

    def told(self, plan: Plan, *, alone: bool) -> dict[str, Any]:
        """Concepts in turn with their factors, and by task how many rows the concepts had.

        The concept of row i is ``concepts[i % len(concepts)]``.

        Args:
            plan: What the run steers with.
            alone: Whether this process has seen all rows; else they are not counted.
        """
        if not plan.each:
            return {}
        concepts = [one.concept_id for one in plan.each]
        found: dict[str, Any] = {"concepts": concepts, "factors": [o.factor for o in plan.each]}
        if alone:
            found["rows"] = {
                task: _counted(task, concepts, of_rows) for task, of_rows in self._of_rows.items()
            }
        return {EACH: found}


def _counted(task: str, concepts: list[int], of_rows: dict[int, int]) -> dict[str, int]:
    counts = Counter(of_rows.values())
    if len(counts) < len(concepts):
        log.warning(
            "%s: concept=each had %d rows for %d concepts: its figures are of %d of them",
            task,
            len(of_rows),
            len(concepts),
            len(counts),
        )
    return {
        "rows": len(of_rows),
        "concepts": len(counts),
        "fewest": min(counts[concept] for concept in concepts),
        "most": max(counts.values()),
    }
