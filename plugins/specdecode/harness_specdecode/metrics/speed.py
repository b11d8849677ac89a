r"""Metrics of ``spec_bench``: how much faster, and how much is written per pass of the target.

An item is a question. With tokens T, seconds S and the target's passes C of the model's own way,
and T', S' of plain decoding of the same prompts in the same run, each summed over questions:

    speedup               = (ΣT / ΣS) / (ΣT' / ΣS')
    tokens_per_second     = ΣT / ΣS           tokens_per_second_plain = ΣT' / ΣS'
    mean_accepted_tokens  = ΣT / ΣC           tokens per pass in a row, the target's own included
    acceptance_rate       = Σ accepted / Σ proposed
    identical_outputs     = share of turns of which both ways wrote the same tokens

Worked example: 40 tokens in 1 s and 20 in 3 s against 60 in 8 s are 15 against 7.5 tokens/s, a
speed-up of 2.

Intervals resample batches, as questions that are decoded together share their measured time; at
batch size 1 a batch is a question. Fewer than three batches have no interval.

Deviation: Spec-Bench's script divides the means of each question's tokens/s. A ratio of sums is
the speed-up of the whole run, in which a short answer counts for little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import Statistic
from harness.statistics import Floats, Parts

Item = Mapping[str, Any]

OWN, PLAIN = "speculative", "plain"
_FROM_ZERO, _SHARE = (0.0, math.inf), (0.0, 1.0)
FIGURES = ("tokens", "seconds", "target_calls", "accepted", "proposed")


def item(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Sums over the turns of a question.

    Args:
        trace: What ``spec_bench`` describes; figures that a model does not know may be left out.
    """
    turns = trace["turns"]
    return {
        "batch": trace["batch"],
        "answers": len(turns),
        "identical": sum(bool(turn["identical"]) for turn in turns),
        **{
            way: {
                name: math.fsum(turn[way][name] for turn in turns)
                for name in FIGURES
                if all(name in turn[way] for turn in turns)
            }
            for way in (OWN, PLAIN)
        },
    }


def _sums(items: Sequence[Item], weights: Floats, way: str, name: str) -> Floats:
    found: Floats = weights @ np.array([item[way].get(name, math.nan) for item in items])
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = above / below
    return found


def _rate(items: Sequence[Item], weights: Floats, way: str) -> Floats:
    return _ratio(_sums(items, weights, way, "tokens"), _sums(items, weights, way, "seconds"))


def _batch(item: Item) -> str:
    return str(item["batch"])


def _speedup(items: Sequence[Item], weights: Floats) -> Floats:
    return _ratio(_rate(items, weights, OWN), _rate(items, weights, PLAIN))


class SpeedupOf(Statistic):
    """The speed-up of one group among all questions."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"{__name__}.speedup_of({group!r})", _speedup, unit=_batch, bounds=_FROM_ZERO
        )
        self._group = group

    def __call__(self, items: Sequence[Item]) -> float:
        return super().__call__(self._within(items))

    def size(self, items: Sequence[Item]) -> float:
        return super().size(self._within(items))

    def parts(self, items: Sequence[Item]) -> Parts:
        return super().parts(self._within(items))

    def _within(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if item["group"] == self._group]


speedup = Statistic(f"{__name__}.speedup", _speedup, unit=_batch, bounds=_FROM_ZERO)
speedup_ci95 = speedup.ci95
tokens_per_second = Statistic(
    f"{__name__}.tokens_per_second",
    lambda items, w: _rate(items, w, OWN),
    unit=_batch,
    bounds=_FROM_ZERO,
)
tokens_per_second_plain = Statistic(
    f"{__name__}.tokens_per_second_plain",
    lambda items, w: _rate(items, w, PLAIN),
    unit=_batch,
    bounds=_FROM_ZERO,
)
mean_accepted_tokens = Statistic(
    f"{__name__}.mean_accepted_tokens",
    lambda items, w: _ratio(_sums(items, w, OWN, "tokens"), _sums(items, w, OWN, "target_calls")),
    bounds=_FROM_ZERO,
)
acceptance_rate = Statistic(
    f"{__name__}.acceptance_rate",
    lambda items, w: _ratio(_sums(items, w, OWN, "accepted"), _sums(items, w, OWN, "proposed")),
    bounds=_SHARE,
)
identical_outputs = Statistic(
    f"{__name__}.identical_outputs",
    lambda items, w: _ratio(
        w @ np.array([float(item["identical"]) for item in items]),
        w @ np.array([float(item["answers"]) for item in items]),
    ),
    bounds=_SHARE,
)

_TABLE = (
    speedup, mean_accepted_tokens, acceptance_rate, tokens_per_second, tokens_per_second_plain,
    identical_outputs,
)  # fmt: skip


def by_group(items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Every figure of each group, and the interval of its speed-up; null where undefined.

    Args:
        items: Items with their ``group``.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(str(item["group"]) for item in items):
        rows = [item for item in items if item["group"] == name]
        figures = {one.name.rpartition(".")[2]: _known(one(rows)) for one in _TABLE}
        interval = [_known(bound) for bound in speedup.interval(rows)]
        found[name] = {"questions": len(rows), **figures, "speedup_ci95": interval}
    return found


def _known(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
