"""SSV: a supervised steering vector, learnt by language modelling.

Wu et al. 2025 (arXiv 2501.17148), §4 and appendix of baselines.

    Φ(h_t) = h_t + w   for t ≥ p
    min_w  −mean_t log P_Φ(y_t | x, y_<t)   over the response tokens of a batch of positives

AdamW, the rate falling to 0 in a line; w is free in its length. A token's score is ReLU(h·w).
Worked example: w = (0.01, 0.01) and h = (1, 2) at a token behind the prefix: Φ(h) = (1.01, 2.01);
before the prefix h stays (1, 2).

Readings: w begins with 0.01 in every entry. No clipping and no weight decay, which the paper does
not mention here.

Deviations: all concepts of a shard learn at once (``stacked``), each as it would alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness_axbench.activations.likelihood import moved, spoken, surprise
from harness_axbench.dictionary.directions import RELU
from harness_axbench.methods.base import Lesson, Method, Stored
from harness_axbench.methods.stacked import Course, Rows, learn, singles


@dataclass(frozen=True, kw_only=True)
class Settings(Course):
    """The paper's, for all models.

    Attributes:
        init: Every entry of w at the start.
    """

    init: float = 0.01


class SSV(Method):
    """Vectors that make the positives likely."""

    name: ClassVar[str] = "ssv"
    draws: ClassVar[bool] = True
    activation: ClassVar[str] = RELU
    uses_negatives: ClassVar[bool] = False
    settings: ClassVar[type] = Settings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        corpus, settings = spoken(lesson.texts), lesson.settings
        shape = (len(lesson.concepts), lesson.hidden_size)
        weight = torch.full(shape, settings.init, device=corpus.device, requires_grad=True)

        def loss(rows: Rows) -> Tensor:
            batch = corpus.batch(rows.texts[:, 0].tolist())
            hidden = moved(batch, weight[rows.concept].unsqueeze(1))
            return surprise(corpus, batch, hidden) * rows.per_token

        learn(
            lesson,
            [weight],
            title=cls.name,
            corpus=corpus,
            examples=singles(corpus.positive),
            loss=loss,
        )
        return Stored(tensors={"weight": weight.detach().cpu()})
