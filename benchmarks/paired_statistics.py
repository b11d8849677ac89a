"""How well paired intervals cover, and how often a difference is found where there is none.

1,000 simulations of each kind: two runs on the same documents, right with correlated chances
(``binary``; ``rare``: wrong in 2 % of them), with correlated scores from 0 to 1 (``scored``), or
with skewed differences (``skewed``). Then studies without any difference: six comparisons each,
after Holm; and the time of 100,000 documents.
"""

from __future__ import annotations

import math
import time

import numpy as np
from scipy.special import ndtr

from harness.statistics import Pair, difference_test, holm, mean_parts, pair

SIMULATIONS = 1000
RESAMPLES = 1000
EFFECT = 0.2


def runs(rng: np.random.Generator, kind: str, n: int, effect: float) -> Pair:
    """Two runs on the same n documents, of which one is better by an effect."""
    hardness, noise = rng.normal(size=n), rng.normal(size=(2, n))
    if kind == "binary":
        values = (hardness + noise + np.array([[0.0], [effect]]) > 0).astype(float)
    elif kind == "rare":  # 98 % right
        values = (hardness + noise + 2.9 + np.array([[0.0], [effect]]) > 0).astype(float)
    elif kind == "scored":
        values = ndtr(hardness + noise + np.array([[0.0], [effect]]))
    else:
        values = np.stack([hardness + noise[0], hardness + noise[1] ** 2 - 1 + effect])
    return pair(mean_parts(None, values[0]), mean_parts(None, values[1]), n)


def truth(kind: str) -> float:
    """The difference of the population."""
    at = {"binary": 0.0, "rare": 2.9}
    if kind == "skewed":
        return EFFECT
    if kind == "scored":
        return float(ndtr(EFFECT / math.sqrt(3))) - 0.5
    return float(ndtr((at[kind] + EFFECT) / math.sqrt(2)) - ndtr(at[kind] / math.sqrt(2)))


def main() -> None:
    """Print coverage, false differences and times."""
    rng = np.random.default_rng(0)
    print("kind    documents  coverage")
    for kind in ("binary", "rare", "scored", "skewed"):
        for n in (12, 50, 200):
            inside = 0
            for number in range(SIMULATIONS):
                one = runs(rng, kind, n, EFFECT)
                tested = difference_test(one, resamples=RESAMPLES, seed=number)
                inside += tested.low is None or tested.low <= truth(kind) <= (tested.high or 0)
            print(f"{kind:7} {n:9}  {inside / SIMULATIONS:.3f}")
    wrong = 0
    for number in range(SIMULATIONS):
        found = [runs(rng, kind, 50, 0.0) for kind in ("binary", "scored") for _ in range(3)]
        ps = [difference_test(one, resamples=RESAMPLES, seed=number).p for one in found]
        wrong += min(p for p in holm(ps) if p is not None) < 0.05
    print(f"studies without a difference in which one is found: {wrong / SIMULATIONS:.3f}")
    for kind in ("binary", "scored"):
        one = runs(rng, kind, 100_000, EFFECT)
        started = time.perf_counter()
        difference_test(one)
        print(f"{kind}, 100,000 documents: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
