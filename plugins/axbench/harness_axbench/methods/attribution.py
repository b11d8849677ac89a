"""IG and InputXGradient: which tokens a classifier of texts goes by.

Wu et al. 2025 (arXiv 2501.17148), §4; integrated gradients are Sundararajan et al. 2017 (arXiv
1703.01365), Eq. 3.

A classifier on the last token's last state learns to tell a concept's positives from the negatives
of its genre (``heads``). p₁ is the probability it gives to "positive", h_t the output of the
dictionary's layer at token t:

    InputXGradient  Σ_d |h_td · ∂p₁/∂h_td|
    IG              Σ_d |h_td · g_td|,   g = 1/m · Σ_{k=1…m} ∂p₁/∂h at (k/m)·h,   m = 50

The path of IG goes from h₀ = 0 to h for all tokens of the text at once, so that h − h₀ = h. Worked
example for one token and p₁ = x² + y at h = (2, 1): the gradient is (4, 1), so InputXGradient gives
8 + 1 = 9; with m = 2 IG's mean gradient is ((2 + 4)/2, 1) = (3, 1), so that it gives 6 + 1 = 7.

Both score texts and cannot steer. They share one training of the heads.

Readings: "last-layer last-token state" is transformers' ``hidden_states[-1]``, behind the final
norm. Deviations: all heads of a shard are trained at once, each as it would be alone, from states
that are computed once; what dropout leaves out depends on the example and the epoch, not on the
concept. The loss is cross-entropy on logits; the reference's takes probabilities for them. The
reference's path begins at the mean embedding of 1,000 tokens, drawn anew for each text, and has its
points at k/m for k = 0 … m − 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness import ArtefactError, Row
from harness.artefacts.reading import fitting
from harness_axbench.activations.blocks import UpperBlocks
from harness_axbench.activations.loading import width_of
from harness_axbench.activations.reader import Activations, Reader
from harness_axbench.methods.base import HeadMethod, Lesson, Stored
from harness_axbench.methods.heads import Heads, HeadSettings, at_last, trained

Gradient = Callable[[Tensor], Tensor]
"""∂p₁/∂h [rows, tokens, hidden] at h [rows, tokens, hidden]."""


@dataclass(frozen=True, kw_only=True)
class PathSettings(HeadSettings):
    """As for the heads; for Gemma-2-9B the paper takes 5 points.

    Attributes:
        points: m, the points of the path at which gradients are taken.
    """

    points: int = 50


class InputXGradient(HeadMethod):
    """Inputs times gradients."""

    name: ClassVar[str] = "ixg"
    settings: ClassVar[type] = HeadSettings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        known = {own.name: getattr(lesson.settings, own.name) for own in fields(HeadSettings)}
        heads = trained(lesson, HeadSettings(**known), cls.name)
        return Stored(tensors={name: own.cpu() for name, own in heads.tensors.items()})

    @classmethod
    def attribution(cls, hidden: Tensor, gradient: Gradient, facts: Mapping[str, Any]) -> Tensor:
        """Scores [rows, tokens] of activations [rows, tokens, hidden]."""
        return (hidden * gradient(hidden)).abs().sum(-1)

    @classmethod
    def scores(
        cls,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        reader: Reader,
        rows: Sequence[Row],
        wanted: Sequence[Sequence[int]],
    ) -> list[list[float]]:
        upper = UpperBlocks(reader.model, reader.layer)
        device = next(reader.model.parameters()).device
        heads = Heads.of(tensors, device, width_of(reader.model))
        found: list[list[float]] = [[] for _ in rows]
        for batch in reader.stream(rows, "texts to score"):
            pairs = [(at, c) for at, text in enumerate(batch.texts) for c in wanted[text]]
            for start in range(0, len(pairs), reader.batch_size):
                own = pairs[start : start + reader.batch_size]
                scores = cls._pooled(batch, own, upper, heads, facts)
                for (at, _), score in zip(own, scores, strict=True):
                    found[batch.texts[at]].append(score)
        return found

    @classmethod
    def _pooled(
        cls,
        batch: Activations,
        pairs: Sequence[tuple[int, int]],
        upper: UpperBlocks,
        heads: Heads,
        facts: Mapping[str, Any],
    ) -> list[float]:
        """The largest token score of each pair of a text of the batch and a concept."""
        device = batch.hidden.device
        texts, concepts = (torch.tensor(own, device=device) for own in zip(*pairs, strict=True))
        counted, chosen = batch.counted[texts], heads.select(concepts)
        mask = counted.flip(1).cummax(1).values.flip(1)  # the prefix is real too
        dtype = next(upper.model.parameters()).dtype

        def gradient(hidden: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = hidden.detach().requires_grad_()
                states = at_last(upper.states(leaf.to(dtype), mask.long()), mask)
                logits = chosen.logits(states.float().unsqueeze(1)).squeeze(1)
                p = logits.softmax(-1)[:, 1]
                return torch.autograd.grad(p.sum(), leaf)[0]

        scores = cls.attribution(batch.hidden[texts], gradient, facts)
        pooled: list[float] = scores.masked_fill(~counted, -torch.inf).amax(1).tolist()
        return pooled


class IntegratedGradients(InputXGradient):
    """Inputs times gradients averaged along a path."""

    name: ClassVar[str] = "ig"
    settings: ClassVar[type] = PathSettings

    @classmethod
    def attribution(cls, hidden: Tensor, gradient: Gradient, facts: Mapping[str, Any]) -> Tensor:
        settings = facts.get("settings")
        points = fitting(PathSettings, settings, "settings of ig", ArtefactError).points
        mean = torch.zeros_like(hidden)
        for k in range(1, points + 1):
            mean += gradient(hidden * (k / points)) / points
        return (hidden * mean).abs().sum(-1)
