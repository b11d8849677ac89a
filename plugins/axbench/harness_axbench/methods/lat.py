"""LAT: the first principal component of differences between random pairs of activations.

Wu et al. 2025 (arXiv 2501.17148), §4, after Zou et al. 2023 (linear artificial tomography, arXiv
2310.01405).

    δ_i = (a_i − b_i) / ‖a_i − b_i‖   (0 where the norm is 0),   w_c = first component of δ − δ̄

The tokens of the concept's positives are shuffled; a is the first half of them, b the second (the
last token stays out where their number is odd). Worked example: the order (3, 1), (1, 1), (0, 1),
(1, 4) pairs (3, 1) with (0, 1) and (1, 1) with (1, 4): δ = (1, 0) and (0, −1), and the component is
that of (½, ½) and (−½, −½), which is ±(1, 1)/√2.

Deviations: two tokens with the same text up to and including them have the same activation, and
what a difference of theirs has is rounding, which the norm would blow up to length one: such a pair
counts as equal. Each concept is shuffled by a generator of its own, seeded with the run's seed, so
that its direction does not depend on the other concepts (the reference shuffles by numpy's global
one). Solver and sign are as for ``pca``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from harness_axbench.activations.corpus import Corpus
from harness_axbench.activations.normalising import Scaling
from harness_axbench.methods.pca import PCA


class LAT(PCA):
    """First principal components of normed differences."""

    name: ClassVar[str] = "lat"
    draws: ClassVar[bool] = True

    @classmethod
    def points(cls, corpus: Corpus, places: Sequence[int], scaling: Scaling, seed: int) -> Tensor:
        tokens = scaling.apply(corpus.tokens(places))
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
        half = len(tokens) // 2
        first, second = order[:half], order[half : 2 * half]
        texts = beginnings([corpus.texts[place].ids.tolist() for place in places])
        same = torch.cat([own[corpus.reader.prefix :] for own in texts])
        equal = (same[first] == same[second]).to(tokens.device)
        return normed_differences(tokens[first], tokens[second], equal)


def beginnings(texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """For each text a number for each token [tokens], equal where all tokens up to it are."""
    known: dict[tuple[int, int], int] = {}
    found = []
    for ids in texts:
        number, own = 0, []
        for token in ids:
            number = known.setdefault((number, token), len(known) + 1)
            own.append(number)
        found.append(torch.tensor(own))
    return found


def normed_differences(a: Tensor, b: Tensor, equal: Tensor) -> Tensor:
    """Differences [n, hidden] scaled to length one, 0 where ``equal`` [n] or the length is 0."""
    return torch.nn.functional.normalize(a - b, dim=-1).masked_fill(equal.unsqueeze(-1), 0)
