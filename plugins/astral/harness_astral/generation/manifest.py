"""What a suite's manifest says of how it was made, and the line that sums it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.asking.desk import Desk
from harness_astral.suites import coverage
from harness_astral.suites.coverage import Plan
from harness_astral.suites.diversity import diversity
from harness_astral.suites.factors import Factors
from harness_astral.suites.suite import Input


def facts_of(
    plan: Plan,
    factors: Factors,
    probes: Sequence[Input],
    labels: dict[str, dict[str, str]] | None,
) -> dict[str, Any]:
    """The plan, the factors, coverage and diversity.

    Args:
        plan: What was planned.
        factors: The factors.
        probes: What was written.
        labels: By input what the classifier named; None without one.
    """
    cells = [coverage.cell_of(one, factors) for one in probes]
    found: dict[str, Any] = {
        "requested": coverage.as_json(coverage.requested(probes, factors)),
        "verified": None,
        "balance": [list(pair) for pair in coverage.balance(cells, factors.sizes)],
    }
    if labels is not None:
        found["verified"] = coverage.as_json(coverage.verified(probes, factors, labels))
        found["confirmed"] = coverage.as_json(coverage.confirmed_shares(probes, labels))
    return {
        "plan": {
            "strength": plan.strength,
            "cells": len(plan.cells),
            "bound": plan.bound,
            "replicates": plan.replicates,
            "inputs": plan.inputs,
        },
        "factors": factors.names(),
        "coverage": found,
        "diversity": diversity([one.prompt for one in probes]),
    }


def spent(desks: Sequence[Desk]) -> dict[str, Any]:
    """The models' revisions, and what each of their steps cost, by role."""
    return {
        "revisions": {one.role: one.revision for one in desks},
        "costs": {
            one.role: {step: dict(counts) for step, counts in one.costs.items()} for one in desks
        },
    }


def summary(manifest: Mapping[str, Any]) -> str:
    """One line: inputs, coverage, what was refused or a duplicate, and holes.

    Args:
        manifest: As ``read_suite`` gives it; what it does not tell is left out.
    """
    outcomes = manifest.get("outcomes", {})
    kinds = {kind: own.get("written", 0) for kind, own in outcomes.items()}
    parts = [", ".join(f"{count} {kind} inputs" for kind, count in kinds.items())]
    for name in ("requested", "verified"):
        shares = manifest.get("coverage", {}).get(name)
        if shares:
            told = ", ".join(f"{t}-wise {own['share']:.1%}" for t, own in shares.items())
            parts.append(f"{name} {told}")
    for reason in ("refused", "duplicate", "unanswered"):
        count = sum(own.get(reason, 0) for own in outcomes.values())
        if count:
            parts.append(f"{count} answers {reason}")
    if manifest.get("holes"):
        parts.append(f"{len(manifest['holes'])} holes")
    return f"{'; '.join(parts)}; sha256 {manifest['sha256'][:12]}"
