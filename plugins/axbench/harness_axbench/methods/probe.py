"""LinearProbe: logistic regression on single tokens, its weight kept at length one.

Wu et al. 2025 (arXiv 2501.17148), §4; probes are Alain & Bengio 2016 (arXiv 1610.01644).

    min_w  mean_t BCE(σ(h_t·w), y_t)     over the tokens of a batch; y_t = 1 in positives

Each step: gradient g = mean_t (σ(h_t·w) − y_t)·h_t; w ← w/‖w‖; g ← g − (g·w)·w; AdamW. The
learning rate decays linearly to 0. Worked example: w = (1, 0) and one positive token (0, 2): σ(0)
is ½, so g = (0, −1), which is at right angles to w already; AdamW moves w towards (0, 1).

All concepts of a shard learn at once, from outputs that are in memory. Concepts with equally many
texts take their steps together: one gather of all their tokens a step, then two products a concept.
A gather holds the tokens of ``batch_size`` texts a concept, in fp32.

The weight is of length one and has no bias, so that h·w is as large as the states are. Where they
are long, and in the paper's half precision, the reference's loss is another one: probabilities are
rounded to bfloat16 and a logarithm's gradient is bounded, which makes a token's error

    (p − y) · min(1, p(1 − p)/10⁻¹²),   p = σ(h·w) rounded to bfloat16

in the place of σ(h·w) − y. A negative that is taken for a positive by more than about 6 has p = 1
and teaches nothing; a positive that is taken for a negative by as much does. That is
``probe.loss=saturating``. Worked example: h·w = 7 in a negative: σ = 0.9991 rounds to 1, and the
error is 0 instead of 0.9991; h·w = −7 in a positive has −0.9991 under both. On states of length
6,500 (Gemma-3-270M) it detects better than ``logits``, on states of length 170 (SmolLM2-135M)
equally well; on standardised states both are the same.

Deviations: the reference trains one concept after another and runs the whole model for every batch.
It counts tokens from the second on, here they count from p on, as they do when texts are scored. By
default the loss is that of logits, which does not saturate. The reference
draws starts and shuffles from torch's global generator; here each concept draws them, the start a
random direction, from a generator of its own, seeded with the run's seed, so that it learns the
same in any company.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness import HarnessError
from harness_axbench.activations.corpus import Corpus
from harness_axbench.activations.normalising import Scaling
from harness_axbench.methods.base import Lesson, Method, Stored, unit

LOGITS, SATURATING = "logits", "saturating"
LOSSES = (LOGITS, SATURATING)
_LEAST = 1e-12  # torch's, below which the gradient of a logarithm of p(1 − p) is bounded


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of LinearProbe; for Gemma-2-9B the paper has lr 1e-3 and weight decay 1e-4.

    Attributes:
        batch_size: Texts a step and concept.
        epochs: Passes over a concept's texts.
        lr: Learning rate at the start.
        weight_decay: AdamW's.
        loss: ``logits``, or ``saturating`` as in the reference's half precision.

    Raises:
        HarnessError: A number is out of its range.
    """

    batch_size: int = 12
    epochs: int = 24
    lr: float = 5e-3
    weight_decay: float = 1e-3
    loss: str = LOGITS

    def __post_init__(self) -> None:
        if min(self.batch_size, self.epochs) < 1 or not min(self.lr, self.weight_decay) >= 0:
            raise HarnessError(
                "probe: batch_size and epochs are at least 1, lr and weight_decay at least 0"
            )
        if self.loss not in LOSSES:
            raise HarnessError(f"setting loss={self.loss} is not one of {', '.join(LOSSES)}")


class LinearProbe(Method):
    """Logistic regressions on tokens."""

    name: ClassVar[str] = "probe"
    draws: ClassVar[bool] = True
    normalises: ClassVar[bool] = True
    settings: ClassVar[type] = ProbeSettings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        tokens = _Tokens.of(lesson.texts)
        taught = lesson.texts.both
        number = [len(positive) for positive in lesson.texts.positive]
        weight = torch.empty(len(taught), tokens.hidden.shape[1])
        for size in sorted({len(texts) for texts in taught}):
            members = [place for place, texts in enumerate(taught) if len(texts) == size]
            texts = torch.tensor([taught[place] for place in members])
            positive = torch.arange(size) < torch.tensor([[number[m]] for m in members])
            scalings = [lesson.scalings[place] for place in members]
            own = _fit(
                tokens, texts, positive, scalings, settings=lesson.settings, seed=lesson.seed
            )
            weight[torch.tensor(members)] = own.cpu()
        return lesson.stored(unit(weight))


@dataclass(frozen=True)
class _Tokens:
    """The tokens of all texts, one text after another.

    Attributes:
        hidden: [tokens, hidden]
        starts: Where each text begins. [texts]
        counts: How many tokens it has. [texts]
    """

    hidden: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, corpus: Corpus) -> _Tokens:
        behind = [corpus.states(place) for place in range(len(corpus.texts))]
        counts = torch.tensor([len(tokens) for tokens in behind])
        return cls(torch.cat(behind), counts.cumsum(0) - counts, counts)

    def of_texts(self, texts: Tensor) -> Tensor:
        """The tokens [n, hidden] of these texts [m], in fp32."""
        counts = self.counts[texts]
        skipped = self.starts[texts] - (counts.cumsum(0) - counts)
        index = torch.arange(int(counts.sum())) + skipped.repeat_interleave(counts)
        return self.hidden[index.to(self.hidden.device)].float()


def _fit(
    tokens: _Tokens,
    texts: Tensor,
    positive: Tensor,
    scalings: Sequence[Scaling],
    *,
    settings: ProbeSettings,
    seed: int,
) -> Tensor:
    """Probes of concepts with equally many texts.

    Args:
        tokens: The tokens of all texts.
        texts: Each concept's texts. [concepts, texts a concept]
        positive: Which of them are positives. [concepts, texts a concept]
        scalings: How each concept's tokens are put on one scale.
        settings: The method's settings.
        seed: Seed of each concept's generator.

    Returns:
        Weights. [concepts, hidden]
    """
    device = tokens.hidden.device
    sources = [torch.Generator().manual_seed(seed) for _ in texts]
    start = torch.stack([torch.randn(tokens.hidden.shape[1], generator=s) for s in sources])
    weight = unit(start).to(device).requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-texts.shape[1] // settings.batch_size)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for chosen in _batches(sources, texts.shape[1], settings, steps):
        rows = texts.gather(1, chosen)
        sizes = tokens.counts[rows].sum(1)
        labels = positive.gather(1, chosen).flatten()
        labels = labels.repeat_interleave(tokens.counts[rows.flatten()]).float().to(device)
        with torch.no_grad():
            drawn = torch.split(tokens.of_texts(rows.flatten()), sizes.tolist())
            parts = [own.apply(part) for own, part in zip(scalings, drawn, strict=True)]
            gradient = _gradients(weight, parts, labels, settings.loss)
            weight.copy_(unit(weight))
            gradient -= (gradient * weight).sum(1, keepdim=True) * weight
        weight.grad = gradient
        optimizer.step()
        decay.step()
    return weight.detach()


def _batches(
    sources: Sequence[torch.Generator], size: int, settings: ProbeSettings, steps: int
) -> Iterator[Tensor]:
    """For each step the places of each concept's batch [concepts, batch], shuffled every epoch."""
    from tqdm import tqdm

    with tqdm(total=steps, desc="probe", unit="step") as bar:
        for _ in range(settings.epochs):
            order = torch.stack([torch.randperm(size, generator=source) for source in sources])
            for chosen in torch.split(order, settings.batch_size, 1):
                yield chosen
                bar.update()


def _gradients(weight: Tensor, parts: Sequence[Tensor], labels: Tensor, loss: str) -> Tensor:
    """Gradients [concepts, hidden] of each concept's mean loss over its tokens.

    Args:
        weight: [concepts, hidden]
        parts: Each concept's tokens. [tokens of the concept, hidden]
        labels: 1 for tokens of positives, concept by concept. [tokens]
        loss: One of ``LOSSES``.
    """
    scores = torch.cat([part @ own for part, own in zip(parts, weight, strict=True)])
    errors = torch.split(_errors(scores, labels, loss), [len(part) for part in parts])
    pairs = zip(parts, errors, strict=True)
    return torch.stack([error @ part / len(part) for part, error in pairs])


def _errors(scores: Tensor, labels: Tensor, loss: str) -> Tensor:
    """The loss's derivative by each token's score [tokens]."""
    if loss == LOGITS:
        return scores.sigmoid() - labels
    chance = scores.bfloat16().sigmoid().to(scores.dtype)
    return (chance - labels) * (chance * (1 - chance) / _LEAST).clamp_max(1)
