"""Metrics of ``specdecode_coupling``: means over positions, and how far sampling lies from theory.

An item is what one prompt gives: sums over its n positions. Standard errors resample prompts, as
positions of one prompt belong together. ``z_…`` measures sampling alone: with hits h_t of R draws
and the closed form a_t at each position,

    z = Σ_t (h_t − R a_t) / √(Σ_t R a_t (1 − a_t)),

about standard normal if the closed form is right; beyond ±4 something is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import Statistic
from harness.statistics import Floats

Item = Mapping[str, Any]

NAMES = ("optimal", "gumbel", "minhash")


def mean_item(records: Sequence[Mapping[str, float]], name: str) -> dict[str, float]:
    """Sum and number of one figure over the positions of a prompt."""
    return {"sum": math.fsum(record[name] for record in records), "n": len(records)}


def z_item(records: Sequence[Mapping[str, float]], name: str, draws: int) -> dict[str, float]:
    """Hits beyond expectation and their variance, over the positions of a prompt.

    Args:
        records: What ``coupling.record`` gives at each position.
        name: The coupling.
        draws: Number of draws R at each position.
    """
    expected = [min(1.0, record[f"agreement_{name}"]) for record in records]
    found = [record[f"empirical_{name}"] for record in records]
    return {
        "excess": draws * math.fsum(h - a for h, a in zip(found, expected, strict=True)),
        "variance": draws * math.fsum(a * (1 - a) for a in expected),
    }


def pooled_mean(items: Sequence[Item], weights: Floats) -> Floats:
    """Mean of all values of which items hold ``sum`` and number ``n``, for each row of weights."""
    sums, counts = (np.array([item[key] for item in items], dtype=float) for key in ("sum", "n"))
    found: Floats = (weights @ sums) / (weights @ counts)
    return found


def z_score(items: Sequence[Item]) -> float:
    """The z above, over all positions of all prompts; 0 where nothing can vary and nothing does."""
    excess = math.fsum(item["excess"] for item in items)
    spread = math.sqrt(math.fsum(item["variance"] for item in items))
    if spread > 0:
        return excess / spread
    return 0.0 if abs(excess) < 1e-9 else math.copysign(math.inf, excess)


def _statistic(name: str) -> Statistic:
    return Statistic(f"{__name__}.{name}", pooled_mean, bounds=(0.0, 1.0))


total_variation = _statistic("total_variation")
lower_bound = _statistic("lower_bound")
agreement_optimal = _statistic("agreement_optimal")
agreement_gumbel = _statistic("agreement_gumbel")
agreement_gumbel_ci95 = agreement_gumbel.ci95
agreement_minhash = _statistic("agreement_minhash")
empirical_optimal = _statistic("empirical_optimal")
empirical_gumbel = _statistic("empirical_gumbel")
empirical_minhash = _statistic("empirical_minhash")

Z = {f"z_{name}": name for name in NAMES}
