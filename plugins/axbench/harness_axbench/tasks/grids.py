"""Whether the factors that were tried reach far enough: what a run says of those it chose.

A concept's factor is the best of those tried. Where that is the weakest or the strongest of them,
the best one may lie beyond: factors are multiples of a concept's largest activation, and how long
an edit of factor 1 is beside the states that it is added to differs from model to model. A concept
whose selection score is 0 at every factor has no best one and tells nothing of the grid.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from harness_axbench.metrics.concept_mean import Item
from harness_axbench.metrics.steering import SELECT, chosen_factor, factors_in, is_judged, score


def beyond(concepts: Mapping[int, Sequence[Item]]) -> str:
    """What to say of the chosen factors; empty where none is at an end of its grid.

    Args:
        concepts: The rated items of each concept.

    Example:
        >>> row = {"split": "select", "concept": 2, "relatedness": 2, "fluency": 2}
        >>> beyond({0: [row | {"factor": 0.2}, row | {"factor": 1.0, "fluency": 1}]})
        'of 1 concepts 1 does best at the weakest factor tried, 0.2'
    """
    ends = Counter(end for own in concepts.values() if (end := _end(own)) is not None)
    tried = [factor for own in concepts.values() for factor in factors_in(own)]
    said = []
    for end, name, extreme in (("weak", "weakest", min), ("strong", "strongest", max)):
        if ends[end]:
            verb = "does" if ends[end] == 1 else "do"
            at = extreme(tried, key=abs)
            said.append(f"{ends[end]} {verb} best at the {name} factor tried, {at:g}")
    return f"of {len(concepts)} concepts {' and '.join(said)}" if said else ""


def _end(items: Sequence[Item]) -> str | None:
    """Which end of its grid a concept's factor is at, if its score is above 0 there."""
    grid, chosen = factors_in(items), chosen_factor(items)
    if len(grid) < 2 or chosen not in (grid[0], grid[-1]):
        return None
    own = [i for i in items if i["factor"] == chosen and i["split"] == SELECT and is_judged(i)]
    known = [value for item in own if not math.isnan(value := score(item))]
    if not any(known):
        return None
    return "weak" if chosen == grid[0] else "strong"
