"""How sure a vote was: the share of the votes that its winner had, by the answer's trace."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import Statistic, trace_of


def vote_share(references: Sequence[Any], predictions: Sequence[Any], **options: Any) -> float:
    """A document's value, from 0 to 1; a model that does not vote gives its one answer all."""
    trace = trace_of(predictions[0])
    return float(trace.get("votes", 1) / trace.get("of", 1))


mean_share = Statistic(
    "mean_share",
    lambda shares, weights: weights @ np.array(shares) / weights.sum(1),
    bounds=(0.0, 1.0),
)
mean_share_ci95 = mean_share.ci95
