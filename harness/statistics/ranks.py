"""Statistics of ranks, weighted: one value for each of many resamples in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.statistics.shares import Floats


def auroc(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve for each row of weights; ties count one half.

    Args:
        positive: Labels [n].
        scores: Scores [n], higher means positive.
        weights: Weights [B, n].

    Returns:
        AUROC [B]; NaN where a row has no positive or no negative weight.
    """
    places = np.flatnonzero(positive), np.flatnonzero(~positive)
    higher, lower = (side[np.argsort(scores[side])] for side in places)
    below = np.zeros((len(weights), len(lower) + 1))  # weight of the k lowest negatives
    np.cumsum(weights[:, lower], axis=1, out=below[:, 1:])
    won = weights[:, higher]
    half_wins = np.zeros(len(weights))
    for side in ("left", "right"):  # negatives strictly below, and those tied as well
        rank = np.searchsorted(scores[lower], scores[higher], side)
        half_wins += np.einsum("bn,bn->b", won, below[:, rank])
    with np.errstate(invalid="ignore", divide="ignore"):
        area: Floats = half_wins / 2 / (won.sum(1) * below[:, -1])
    return area
