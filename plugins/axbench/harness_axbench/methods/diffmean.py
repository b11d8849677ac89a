"""DiffMean: the difference of mean activations.

Wu et al. 2025 (arXiv 2501.17148), §4; the idea is Marks & Tegmark 2023 (arXiv 2310.06824).

    w_c = mean(H⁺_c) − mean(H⁻_genre(c)),   w_c ← w_c / ‖w_c‖

H⁺ and H⁻ are token activations: every token of every text weighs the same, so that long texts weigh
more. Worked example in two dimensions: positives with tokens (1, 0), (1, 2) and (1, 1), negatives
with (0, 1): means (1, 1) and (0, 1), difference (1, 0).

Deviations: the reference trains one concept after another and encodes the shared negatives each
time; here all sums are streamed in fp64 from one pass over the unique texts, with the same result.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness_axbench.activations import Activations
from harness_axbench.methods import Curriculum, VectorMethod, unit


class DiffMean(VectorMethod):
    """Streams token sums of every group; the vectors are differences of their means."""

    name: ClassVar[str] = "diffmean"

    def __init__(self, plan: Curriculum, *, hidden_size: int, seed: int) -> None:
        super().__init__(plan, hidden_size=hidden_size, seed=seed)
        self._sums = torch.zeros(plan.n_groups, hidden_size, dtype=torch.float64)
        self._tokens = torch.zeros(plan.n_groups, dtype=torch.float64)

    def observe(self, batch: Activations) -> None:
        kept = batch.counted.unsqueeze(-1)
        sums = batch.hidden.masked_fill(~kept, 0.0).sum(1, dtype=torch.float64).cpu()
        tokens = batch.counted.sum(1).double().cpu()
        rows = [row for row, text in enumerate(batch.texts) for _ in self.plan.groups[text]]
        groups = [group for text in batch.texts for group in self.plan.groups[text]]
        self._sums.index_add_(0, torch.tensor(groups), sums[rows])
        self._tokens.index_add_(0, torch.tensor(groups), tokens[rows])

    def weight(self) -> Tensor:
        means = self._sums / self._tokens.unsqueeze(-1)
        return unit(means[: self.plan.n_concepts] - means[self.plan.negative])
