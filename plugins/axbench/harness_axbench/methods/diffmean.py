"""DiffMean: the difference of mean activations.

Wu et al. 2025 (arXiv 2501.17148), §4; the idea is Marks & Tegmark 2023 (arXiv 2310.06824).

    w_c = mean(H⁺_c) − mean(H⁻_genre(c)),   w_c ← w_c / ‖w_c‖

H⁺ and H⁻ are token activations: every token of every text weighs the same, so that long texts weigh
more. Worked example in two dimensions: positives with tokens (1, 0), (1, 2) and (1, 1), negatives
with (0, 1): means (1, 1) and (0, 1), difference (1, 0).

Deviations: the reference trains one concept after another and encodes the shared negatives each
time; here each text is summed once, in fp64, and concepts add up sums of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness_axbench.activations.normalising import STANDARDISE, UNIT
from harness_axbench.methods.base import Lesson, Method, Stored, unit


class DiffMean(Method):
    """Differences of token means."""

    name: ClassVar[str] = "diffmean"
    normalises: ClassVar[bool] = True

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        return lesson.stored(differences(lesson))


def differences(lesson: Lesson) -> Tensor:
    """Each concept's difference of means, of length one: [concepts, hidden]."""
    corpus = lesson.texts
    behind = [corpus.states(place) for place in range(len(corpus.texts))]
    if lesson.normalise == UNIT:
        behind = [normalize(tokens.double(), dim=1) for tokens in behind]
    sums = torch.stack([tokens.sum(0, dtype=torch.float64) for tokens in behind])
    counts = torch.tensor([len(tokens) for tokens in behind], dtype=torch.float64)

    def mean(places: Sequence[int]) -> Tensor:
        chosen = torch.tensor(places)
        return sums[chosen.to(sums.device)].sum(0) / counts[chosen].sum()

    pairs = zip(corpus.positive, corpus.negative, strict=True)
    rows = torch.stack([mean(positive) - mean(negative) for positive, negative in pairs])
    if lesson.normalise == STANDARDISE:  # m falls out of the difference
        rows = rows * torch.stack([own.inverse for own in lesson.scalings])
    return unit(rows)
