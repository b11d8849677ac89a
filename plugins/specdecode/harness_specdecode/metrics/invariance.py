"""Metrics of ``specdecode_invariance``: what of the answers stays the same, and where they part.

An item is a prompt: its reference answer of n tokens, and the answers of D other decodings.

    identical_outputs        share of all answers that equal their reference, token by token
    identical_prefix         mean share of the reference's tokens before the first difference
    near_tie_share           share of the references' tokens whose choice was within rounding
    unexplained_differences  share of all answers that part from their reference at no near-tie

Worked example: of 4 answers to a prompt two differ from the reference of 10 tokens, at the places
3 and 7 (from 0), the first where two tokens were within rounding. Half are identical, the prefix is
(1 + 1 + 0.3 + 0.7)/4 = 0.75, and a quarter of the answers is unexplained. ``differences`` then says
2 answers, at 5.0 in the mean, 0.5 of them at near-ties.

Standard errors resample prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness import Statistic
from harness_specdecode.metrics import pooled_mean

Item = Mapping[str, Any]
Compared = Mapping[str, Any]


def items(trace: Mapping[str, Any]) -> dict[str, Item]:
    """Each metric's item of a prompt; those of near-ties only where they were counted.

    Args:
        trace: What ``invariance`` describes.
    """
    compared, length = trace["decodings"], trace["tokens"]
    at = [c["first_difference"] for c in compared]
    found: dict[str, Item] = {
        "identical_outputs": _sum([t is None for t in at]),
        "identical_prefix": _sum([1.0 if t is None else t / max(1, length) for t in at]),
    }
    if trace["near_ties"] is not None:
        found["near_tie_share"] = {"sum": float(trace["near_ties"]), "n": length}
        found["unexplained_differences"] = _sum([c["near_tie"] is False for c in compared])
    return found


def _sum(values: Sequence[float]) -> Item:
    return {"sum": math.fsum(values), "n": len(values)}


def _statistic(name: str) -> Statistic:
    return Statistic(f"{__name__}.{name}", pooled_mean, bounds=(0.0, 1.0))


identical_outputs = _statistic("identical_outputs")
identical_outputs_ci95 = identical_outputs.ci95
identical_prefix = _statistic("identical_prefix")
near_tie_share = _statistic("near_tie_share")
unexplained_differences = _statistic("unexplained_differences")


def differences(prompts: Sequence[Sequence[Compared]]) -> dict[str, Any]:
    """What differs over all answers, and for each decoding.

    Args:
        prompts: The ``decodings`` of each prompt's trace.

    Returns:
        ``differences`` and, by the decoding's name, ``by_decoding``.
    """
    rows: dict[str, list[Compared]] = {}
    for compared in prompts:
        for one in compared:
            rows.setdefault(one["decoding"], []).append(one)
    return {
        "differences": _summary([one for row in rows.values() for one in row]),
        "by_decoding": {name: _summary(row) for name, row in rows.items()},
    }


def _summary(answers: Sequence[Compared]) -> dict[str, Any]:
    """Of some answers how many differ, where in the mean, and which share at near-ties."""
    at = [one["first_difference"] for one in answers if one["first_difference"] is not None]
    near = [one["near_tie"] for one in answers if one["near_tie"] is not None]
    return {
        "answers": len(answers),
        "differing": len(at),
        "identical_outputs": round(1 - len(at) / len(answers), 4),
        "first_difference": round(math.fsum(at) / len(at), 2) if at else None,
        "at_near_ties": round(sum(near) / len(near), 4) if near else None,
    }
