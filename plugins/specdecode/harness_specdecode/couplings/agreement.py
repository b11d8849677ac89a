r"""How well the couplings agree at one position: closed forms beside what sampling gives.

For a target p and a drafter q at a position t (Daliri, Musco and Suresh 2024, §3 to §5):

    closed     1 − d, the Gumbel sum, the MinHash sum, (1 − d)/(1 + d)     (``couplings``)
    sampled    hits / R over the keys k_1 … k_R;  standard error √(a(1 − a)/R)

Each side samples by itself from the shared noise of (k_r, t); only the optimal coupling is drawn
with both in hand. With a the closed form and R draws, hits are Binomial(R, a).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness_specdecode.couplings import couplings
from harness_specdecode.couplings.noise import PRIVATE, Noise, as_uniform
from harness_specdecode.metrics import NAMES

_CELLS_AT_ONCE = 1 << 22


def closed_forms(p: Tensor, q: Tensor) -> list[dict[str, float]]:
    """Distance, bound and agreement of each coupling, a row at a time.

    Args:
        p: The target's probabilities [B, V].
        q: The drafter's, of the same shape.
    """
    columns = {
        "total_variation": couplings.total_variation(p, q),
        "lower_bound": couplings.lower_bound(p, q),
        "agreement_optimal": couplings.agreement_optimal(p, q),
        "agreement_gumbel": couplings.agreement_gumbel(p, q),
        "agreement_minhash": couplings.agreement_minhash(p, q),
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def sampled_hits(
    p: Tensor, q: Tensor, noise: Noise, keys: Sequence[int], position: int
) -> dict[str, int]:
    """How often both sides pick the same token, for each coupling, once a key.

    Args:
        p: The target's probabilities [V].
        q: The drafter's.
        noise: The shared field.
        keys: One key a draw.
        position: The output position t.
    """
    found = dict.fromkeys(NAMES, 0)
    log_p, log_q = p.log(), q.log()
    size = max(1, _CELLS_AT_ONCE // len(p))
    for start in range(0, len(keys), size):
        some = keys[start : start + size]
        gumbel = noise.gumbel(some, position, len(p))
        rows_p, rows_q = p.expand(len(some), -1), q.expand(len(some), -1)
        words = noise.words(PRIVATE, some, position, torch.zeros(1, dtype=torch.int64))
        u = as_uniform(torch.cat(words[:3], dim=-1))
        pairs = {
            "optimal": couplings.maximal_coupling_sample(rows_p, rows_q, u),
            "gumbel": tuple(couplings.gumbel_sample(side, gumbel) for side in (log_p, log_q)),
            "minhash": tuple(
                couplings.dart_minhash_sample(side, noise, some, position)
                for side in (rows_p, rows_q)
            ),
        }
        for name, (first, second) in pairs.items():
            found[name] += int((first == second).sum())
    return found


def record(closed: dict[str, float], hits: dict[str, int], draws: int) -> dict[str, Any]:
    """One position's figures: the closed forms, and share and standard error of each coupling."""
    found: dict[str, Any] = dict(closed)
    for name in NAMES:
        share = hits[name] / draws
        found[f"empirical_{name}"] = share
        found[f"empirical_{name}_stderr"] = math.sqrt(share * (1 - share) / draws)
    return found
