"""ReFT-r1: a direction that detects and steers, learnt as a rank-1 intervention.

Wu et al. 2025 (arXiv 2501.17148), §4, Eqs. 4–6.

    a_t = ReLU(h_t·w)                                    for t ≥ p
    Φ(h_t) = h_t + mean(top-k a)·w                       for t ≥ p
    min_w  −mean_t log P_Φ(y_t | x, y_<t)  +  (s/S)·λ·mean_rows[ Σ_{t ∉ top-k} a_t / n ]

over the response tokens of batches of positives and negatives; n is the number of the row's tokens
from p on, s the steps done and S all of them. Each step: clip the gradient to norm 1, w ← w/‖w‖,
take the gradient's part along w out, AdamW. A token's score is a_t.

Worked example: w = (1, 0), k = 2, tokens (3, 1), (−1, 2), (1, 0), (2, 5): a = 3, 0, 1, 2; the two
largest have the mean 2.5, so every token moves by (2.5, 0); of the rest 0 + 1 remains, over n = 4
tokens a penalty of 0.25.

Readings: w begins with 0.01 in every entry, not of length one; s counts from 0, so that the first
step has no penalty. A row of fewer than k tokens from p on averages over those it has.

A step of AdamW moves w by about lr·√d, against a length of 1: 0.48 in Gemma-2-2B. In a much
narrower model the paper's lr is too small to turn w away from where it begins; with d = 256, 0.03
is the like of it.

Deviations: all concepts of a shard learn at once (``stacked``), each as it would alone. Padding is
never among the top k, as it may be in the reference. w is scaled to length one after the last step
too, which changes it little, as the last rate is near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness_axbench.activations.likelihood import moved, spoken, surprise
from harness_axbench.dictionary.directions import RELU
from harness_axbench.methods.base import Lesson, Method, Stored, unit
from harness_axbench.methods.stacked import Course, Rows, learn, singles


@dataclass(frozen=True, kw_only=True)
class Settings(Course):
    """The paper's for Gemma-2-2B; for Gemma-2-9B ``lr`` is 5e-3.

    Attributes:
        clip: Largest norm of a concept's gradient.
        k: Activations that steer.
        penalty: λ, the weight of the other activations.
        init: Every entry of w at the start.
    """

    clip: float = 1.0
    k: int = 8
    penalty: float = 0.005
    init: float = 0.01


class ReftR1(Method):
    """Vectors of length one that read a concept and write it."""

    name: ClassVar[str] = "reft_r1"
    draws: ClassVar[bool] = True
    activation: ClassVar[str] = RELU
    settings: ClassVar[type] = Settings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        corpus, settings = spoken(lesson.texts), lesson.settings
        shape = (len(lesson.concepts), lesson.hidden_size)
        weight = torch.full(shape, settings.init, device=corpus.device, requires_grad=True)

        def losses(rows: Rows) -> Tensor:
            batch = corpus.batch(rows.texts[:, 0].tolist())
            own = weight[rows.concept]
            acts = (batch.hidden.float() @ own.unsqueeze(-1)).squeeze(-1).relu()
            strength, rest = split(acts, batch.counted, settings.k)
            hidden = moved(batch, (strength.unsqueeze(-1) * own).unsqueeze(1))
            language = surprise(corpus, batch, hidden) * rows.per_token
            loss: Tensor = language + settings.penalty * rows.progress * rest * rows.per_row
            return loss

        learn(
            lesson,
            [weight],
            title=cls.name,
            corpus=corpus,
            examples=singles(corpus.both),
            loss=losses,
            adjust=lambda: on_sphere(weight),
        )
        return Stored(tensors={"weight": unit(weight.detach()).cpu()})


def split(acts: Tensor, counted: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The mean of a row's k largest activations, and the mean share of the others.

    Args:
        acts: Activations, none negative. [rows, tokens]
        counted: Which tokens count. [rows, tokens]
        k: How many are taken; all where there are fewer.

    Returns:
        The mean of the largest [rows], and the sum of the others over the number of tokens [rows].
    """
    acts = acts * counted  # a token that does not count adds 0 to either sum
    n = counted.sum(1)
    largest = acts.topk(min(k, acts.shape[1]), dim=1).values.sum(1)
    return largest / n.clamp(1, k), (acts.sum(1) - largest) / n.clamp_min(1)


@torch.no_grad()
def on_sphere(weight: Tensor) -> None:
    """Scale rows to length one, and take the part along them out of their gradients, in place."""
    weight.copy_(unit(weight))
    gradient = weight.grad
    assert gradient is not None
    gradient.sub_((gradient * weight).sum(-1, keepdim=True) * weight)
