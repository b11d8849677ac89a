"""RePS: a steering vector learnt from preferences, in two directions.

Wu et al. 2025, *Improved Representation Steering for Language Models* (arXiv 2505.20809), with
triples of an instruction x, a response y_c that has the concept and one that has not, y:

    add        Φ(h) = h + α·w                        y_c is preferred to y
    null out   Φ(h) = h − ReLU(h·w + b)/‖w‖²·w       y is preferred to y_c

at tokens from p on, α drawn from a list. With L = log P_Φ(response), L_ref the same without an
intervention, and n the length, each direction has the loss of its preferred and its other response:

    reps         −log σ( max(L_ref(other) − L_ref(pref), 1)·L(pref)/n_pref − L(other)/n_other )
    reps_simpo   −log σ( β·L(pref)/n_pref − β·L(other)/n_other − γ )       arXiv 2405.14734
    reps_dpo     −log σ( β·D )                                             arXiv 2305.18290
    reps_ipo     (D − 1/(2β))²                                             arXiv 2310.12036

with D = (L − L_ref)(pref) − (L − L_ref)(other); a triple's loss is the sum of both directions.
Factors are used as they are, without max_act; w is free in its length.

Worked example: L = −10 and −6 nats over 5 and 3 tokens, L_ref = −12 and −7: reps weighs the first
by max(−7 + 12, 1) = 5 and has −log σ(5·(−2) + 2) = 8.0003; D = 2 − 1 = 1, so that dpo with
β = 0.1 has −log σ(0.1) = 0.644 and ipo (1 − 5)² = 16.

Readings. AxBench's data have no second response to an instruction: y is the response of a negative
of the concept's genre, with the negative's own instruction; the negative with the same instruction
where there is one, else one drawn, as often as any other. One α a triple and epoch, for both
responses. w begins uniform in ±1/√d (torch's for a linear layer), b with 0. β = 0.1 for dpo and ipo
as in their papers; β = 1 and γ = 0 for simpo, which makes it reps without the weight.

Deviations: all concepts of a shard learn at once (``stacked``), each as it would alone; L_ref is
computed once a text.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness_axbench.activations.corpus import Corpus
from harness_axbench.activations.likelihood import moved, spoken, surprise
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.directions import RELU
from harness_axbench.methods.base import Lesson, Method, Stored
from harness_axbench.methods.stacked import Course, Rows, learn


@dataclass(frozen=True, kw_only=True)
class Settings(Course):
    """The published ones for Gemma-2-2B; for Gemma-2-9B ``lr`` is 0.08.

    Attributes:
        epochs: Times all triples are seen.
        lr: AdamW's rate at the first step.
        clip: Largest norm of a concept's gradient.
        alphas: The factors that are drawn from.
    """

    epochs: int = 18
    lr: float = 0.04
    clip: float = 1.0
    alphas: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)


@dataclass(frozen=True, kw_only=True)
class BetaSettings(Settings):
    """With the sharpness of a preference.

    Attributes:
        beta: β.
    """

    beta: float = 0.1


@dataclass(frozen=True, kw_only=True)
class MarginSettings(Settings):
    """With a margin.

    Attributes:
        beta: β.
        gamma: γ.
    """

    beta: float = 1.0
    gamma: float = 0.0


@dataclass(frozen=True)
class Side:
    """One response of each pair.

    Attributes:
        steered: log P of the response under the intervention, in nats. [pairs]
        plain: The same without one. [pairs]
        length: Tokens of the response. [pairs]
    """

    steered: Tensor
    plain: Tensor
    length: Tensor


class Preference(Method):
    """What RePS and its relatives share: all but the loss of a pair."""

    draws: ClassVar[bool] = True
    activation: ClassVar[str] = RELU
    raw_factors: ClassVar[bool] = True
    factors: ClassVar[tuple[float, ...] | None] = (
        *(2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0),
        *(25.0, 30.0, 40.0, 50.0),
    )

    @classmethod
    @abstractmethod
    def loss(cls, preferred: Side, other: Side, settings: Any) -> Tensor:
        """The loss of each pair: [pairs]."""

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        corpus, settings = spoken(lesson.texts), lesson.settings
        device = corpus.device
        weight, bias = _start(len(lesson.concepts), lesson.hidden_size, lesson.seed, device)
        pairs, alphas = zip(*(_drawn(lesson, place) for place in range(len(weight))), strict=True)
        plain = _plain(corpus, pairs, settings.tokens)
        response = [max(1, len(text.ids) - text.response) for text in corpus.texts]
        length = torch.tensor(response, device=device)
        drawn = torch.nn.utils.rnn.pad_sequence([a.to(device) for a in alphas], batch_first=True)

        def loss(rows: Rows) -> Tensor:
            batch = corpus.batch(rows.texts.T.flatten().tolist())
            own, own_bias = weight[rows.concept].repeat(2, 1), bias[rows.concept].repeat(2)
            alpha = drawn[rows.concept, rows.example, rows.epoch].repeat(2)
            nulled = batch.hidden[len(own) :]
            c = torch.cat(
                [alpha.unsqueeze(1).expand(nulled.shape[:2]), removed(nulled, own, own_bias)]
            )
            hidden = moved(batch, c.unsqueeze(-1) * own.repeat(2, 1).unsqueeze(1))
            steered = -surprise(corpus, batch, hidden).view(4, -1)
            sides = [
                Side(found, plain[texts], length[texts])
                for found, texts in zip(steered, rows.texts.T, strict=True)
            ]
            both = cls.loss(sides[0], sides[1], settings) + cls.loss(sides[2], sides[3], settings)
            return both * rows.per_row

        learn(
            lesson,
            [weight, bias],
            title=cls.name,
            corpus=corpus,
            examples=pairs,
            loss=loss,
        )
        return Stored(tensors={"weight": weight.detach().cpu(), "bias": bias.detach().cpu()})


class RePS(Preference):
    """Scaled SimPO: what the model finds unlikely weighs more."""

    name: ClassVar[str] = "reps"
    settings: ClassVar[type] = Settings

    @classmethod
    def loss(cls, preferred: Side, other: Side, settings: Any) -> Tensor:
        scale = (other.plain - preferred.plain).clamp_min(1)
        return -logsigmoid(
            scale * preferred.steered / preferred.length - other.steered / other.length
        )


class RepsSimPO(Preference):
    """SimPO in both directions."""

    name: ClassVar[str] = "reps_simpo"
    settings: ClassVar[type] = MarginSettings

    @classmethod
    def loss(cls, preferred: Side, other: Side, settings: Any) -> Tensor:
        margin = preferred.steered / preferred.length - other.steered / other.length
        return -logsigmoid(settings.beta * margin - settings.gamma)


class RepsDPO(Preference):
    """DPO in both directions, as BiPO (arXiv 2406.00045) with RePS' interventions."""

    name: ClassVar[str] = "reps_dpo"
    settings: ClassVar[type] = BetaSettings

    @classmethod
    def loss(cls, preferred: Side, other: Side, settings: Any) -> Tensor:
        return -logsigmoid(settings.beta * _advantage(preferred, other))


class RepsIPO(Preference):
    """IPO in both directions."""

    name: ClassVar[str] = "reps_ipo"
    settings: ClassVar[type] = BetaSettings

    @classmethod
    def loss(cls, preferred: Side, other: Side, settings: Any) -> Tensor:
        loss: Tensor = (_advantage(preferred, other) - 1 / (2 * settings.beta)) ** 2
        return loss


def _advantage(preferred: Side, other: Side) -> Tensor:
    return (preferred.steered - preferred.plain) - (other.steered - other.plain)


def _start(concepts: int, width: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Vectors and biases before the first step, the same for every concept."""
    source = torch.Generator().manual_seed(seed)
    row = (2 * torch.rand(width, generator=source) - 1) / width**0.5
    weight = row.to(device).repeat(concepts, 1).requires_grad_()
    return weight, torch.zeros(concepts, device=device, requires_grad=True)


def _drawn(lesson: Lesson, place: int) -> tuple[Tensor, Tensor]:
    """A concept's triples and their factors.

    Returns:
        The places of the texts that a triple runs: added, y_c and y; nulled out, y and y_c
        [triples, 4]; and α [triples, epochs].
    """
    corpus, concept = lesson.texts, lesson.concepts[place]
    source = torch.Generator().manual_seed(lesson.seed + 1)  # apart from the shuffles
    win = torch.tensor(corpus.positive[place])
    lose = torch.tensor(corpus.negative[place])[_partners(lesson, concept, source)]
    listed = torch.tensor(lesson.settings.alphas)
    drawn = torch.randint(len(listed), (len(win), lesson.settings.epochs), generator=source)
    return torch.stack([win, lose, lose, win], dim=1), listed[drawn]


def _partners(lesson: Lesson, concept: Concept, source: torch.Generator) -> Tensor:
    """For each positive the number of a negative: one of the same input, else one drawn."""
    negatives = lesson.data.negatives(concept.genre)
    same = {str(row["input"]): number for number, row in reversed(list(enumerate(negatives)))}
    asked = [str(row["input"]) for row in lesson.data.positives(concept)]
    order = torch.randperm(len(negatives), generator=source).tolist()
    return torch.tensor(
        [same.get(text, order[number % len(order)]) for number, text in enumerate(asked)]
    )


@torch.no_grad()
def _plain(corpus: Corpus, pairs: Sequence[Tensor], tokens: int) -> Tensor:
    """For each text in a pair log P of its response without an intervention: [texts]."""
    found = torch.zeros(len(corpus.texts), device=corpus.device)
    used = sorted(
        {place for own in pairs for place in own.flatten().tolist()},
        key=lambda place: -len(corpus.texts[place].ids),
    )
    while used:
        size = max(1, tokens // len(corpus.texts[used[0]].ids))
        part, used = used[:size], used[size:]
        batch = corpus.batch(part)
        found[torch.tensor(part, device=found.device)] = -surprise(corpus, batch, batch.hidden)
    return found


def removed(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The multiple of w that takes a direction out of each activation: [rows, tokens]."""
    along = (hidden.float() @ weight.unsqueeze(-1)).squeeze(-1) + bias.unsqueeze(1)
    return -along.relu() / weight.square().sum(-1, keepdim=True)
