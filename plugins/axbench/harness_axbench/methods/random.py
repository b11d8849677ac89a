"""Random: one random unit vector a concept, the control of every comparison.

Wu et al. 2025 (arXiv 2501.17148), appendix of baselines.

    w_c = g / ‖g‖,   g ~ N(0, I)

Deviations: concept c draws from a generator seeded by (seed, c's number in the data set), so that
its vector does not depend on the other concepts. The reference draws g from a cube, as torch's
linear layer begins, and adds a random bias to the scores, which moves all of a concept's alike.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from harness_axbench.methods.base import Lesson, Method, Stored, unit

_STRIDE = 1_000_003  # keeps the seeds of neighbouring runs' concepts apart


class Random(Method):
    """Random directions; looks at no activation."""

    name: ClassVar[str] = "random"
    draws: ClassVar[bool] = True
    uses_outputs: ClassVar[bool] = False

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        rows = []
        for concept in lesson.concepts:
            source = torch.Generator().manual_seed(lesson.seed * _STRIDE + concept.id)
            rows.append(torch.randn(lesson.hidden_size, generator=source, dtype=torch.float64))
        return Stored(tensors={"weight": unit(torch.stack(rows))})
