"""Random: one random unit vector a concept, the control of every comparison.

Wu et al. 2025 (arXiv 2501.17148), appendix of baselines.

    w_c = g / ‖g‖,   g ~ N(0, I)

Deviations: concept c draws from a generator seeded by (seed, concept's place in the list), so that
its vector does not depend on how many concepts there are.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness_axbench.activations import Activations
from harness_axbench.methods import VectorMethod, unit

_STRIDE = 1_000_003  # keeps the seeds of neighbouring runs' concepts apart


class Random(VectorMethod):
    """Random directions; looks at no activation."""

    name: ClassVar[str] = "random"
    reads_activations: ClassVar[bool] = False

    def observe(self, batch: Activations) -> None:
        """Nothing to learn."""

    def weight(self) -> Tensor:
        rows = []
        for place in range(self.plan.n_concepts):
            source = torch.Generator().manual_seed(self.seed * _STRIDE + place)
            rows.append(torch.randn(self.hidden_size, generator=source, dtype=torch.float64))
        return unit(torch.stack(rows))
