"""Learning by gradient through a model, many concepts at once, each exactly as it would alone.

Parameters are stacked: their first dimension is the concepts. A step takes the next batch of every
concept and runs all rows together, each under its own concept's parameters. The loss is a sum over
concepts, so that a concept's gradient is its own; clipping, AdamW and the decay of the rate go
concept by concept. What a concept learns depends neither on its company nor on how a step is cut
into microbatches, up to the rounding of sums.

    rows are drawn     for each concept by a generator of its own, as torch's DataLoader does
    a loss is averaged over the tokens (or rows) of a concept's batch, then over the step's batches
    the rate           lr · (1 − step/total), total being the concept's own number of steps

Only the blocks above the layer run, forward and backward, from the cached outputs of the layer, and
the language head only at positions that predict a token of a response. A microbatch holds rows of
like length and at most ``tokens`` padded tokens (always one row), so memory is bounded by

    tokens · (activations a token above the layer + 3 · vocabulary · 4 bytes)

beside the model and the corpus; parameters, gradients and AdamW's moments take 16 bytes a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from harness import HarnessError
from harness_axbench.activations.corpus import Corpus
from harness_axbench.methods.base import Lesson

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's and the paper's


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long and how fast a method learns; the base of the methods' settings.

    Attributes:
        batch_size: Rows a batch, of each concept.
        accumulate: Batches a step.
        epochs: Times all rows are seen.
        lr: AdamW's rate at the first step.
        weight_decay: AdamW's, decoupled.
        clip: Largest norm of a concept's gradient; 0 for any.
        tokens: Padded tokens a microbatch; bounds memory, changes nothing else.

    Raises:
        HarnessError: A number is out of its range.
    """

    batch_size: int = 6
    accumulate: int = 1
    epochs: int = 3
    lr: float = 1e-2
    weight_decay: float = 0.0
    clip: float = 0.0
    tokens: int = 2048

    def __post_init__(self) -> None:
        for own in fields(self):
            value = getattr(self, own.name)
            least = 1 if isinstance(value, int) else 0
            if isinstance(value, (int, float)) and not value >= least:
                raise HarnessError(f"setting {own.name}={value} is not at least {least}")


@dataclass(frozen=True)
class Rows:
    """Rows that are run together, of any concepts.

    Attributes:
        texts: Places in the corpus of the texts that each row runs. [rows, texts]
        width: Tokens that a row takes up. [rows]
        concept: Place of each row's concept in the lesson. [rows]
        example: Number of the row among its concept's. [rows]
        epoch: How often it has been seen. [rows]
        progress: Share of its concept's steps that are done, step/total. [rows]
        per_token: Factor by which a sum over the row's tokens enters the loss. [rows]
        per_row: Factor by which a value of the whole row does. [rows]
    """

    texts: Tensor
    width: Tensor
    concept: Tensor
    example: Tensor
    epoch: Tensor
    progress: Tensor
    per_token: Tensor
    per_row: Tensor

    def select(self, index: Tensor) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, own.name)[index] for own in fields(self)))

    @classmethod
    def together(cls, parts: Sequence[Rows]) -> Rows:
        """Rows of several concepts."""
        return cls(*(torch.cat([getattr(p, own.name) for p in parts]) for own in fields(cls)))

    def to(self, device: torch.device) -> Rows:
        """The same rows elsewhere."""
        return Rows(*(getattr(self, own.name).to(device) for own in fields(self)))


class Timetable:
    """When each row of one concept has its turn.

    Args:
        place: The concept's place in the lesson.
        texts: The texts that each row runs; its loss counts the response of the first.
            [examples, texts]
        corpus: The texts.
        course: Batch size, epochs and so on.
        seed: Seed of the shuffles.
    """

    def __init__(
        self, place: int, texts: Tensor, corpus: Corpus, course: Course, seed: int
    ) -> None:
        self._place, self._texts, self._size = place, texts, course.batch_size
        length = torch.tensor([len(text.ids) for text in corpus.texts])
        before = torch.tensor([text.response for text in corpus.texts])
        self._width = length[texts].amax(1) * texts.shape[1]
        self._tokens = (length - before).clamp_min(0)[texts[:, 0]].double()
        a_step = course.batch_size * course.accumulate
        drawn = enumerate(orders(len(texts), course.epochs, seed))
        self._steps = [(e, own) for e, order in drawn for own in _parts(order, a_step)]

    def __len__(self) -> int:
        return len(self._steps)

    def rows(self, step: int) -> Rows:
        """The rows of a step."""
        epoch, chosen = self._steps[step]
        batch = torch.arange(len(chosen)) // self._size
        tokens = torch.bincount(batch, weights=self._tokens[chosen]).clamp_min(1)
        share = 1 / (int(batch[-1]) + 1)
        return Rows(
            texts=self._texts[chosen],
            width=self._width[chosen],
            concept=torch.full_like(chosen, self._place),
            example=chosen,
            epoch=torch.full_like(chosen, epoch),
            progress=torch.full(chosen.shape, step / len(self)),
            per_token=(share / tokens)[batch].float(),
            per_row=(share / torch.bincount(batch))[batch].float(),
        )


def orders(size: int, epochs: int, seed: int) -> list[Tensor]:
    """The order of rows in each epoch, a permutation [size].

    They are those of ``torch.utils.data.DataLoader(shuffle=True, generator=…)``, whose every epoch
    takes three draws from its generator: a seed for workers, the permutation, and a second one that
    would fill up a number of samples beyond the rows', of which nothing is used.
    """
    source = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(epochs):
        torch.empty((), dtype=torch.int64).random_(generator=source)
        found.append(torch.randperm(size, generator=source))
        torch.randperm(size, generator=source)
    return found


def _parts(order: Tensor, size: int) -> list[Tensor]:
    return [order[start : start + size] for start in range(0, len(order), size)]


class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with a rate for each concept.

    A concept whose rate is 0 stays as it is.

    Args:
        parameters: Each leads with the concepts.
        weight_decay: Decoupled decay.
    """

    def __init__(self, parameters: Sequence[Tensor], *, weight_decay: float) -> None:
        self._parameters, self._decay, self._step = parameters, weight_decay, 0
        self._mean = [torch.zeros_like(own) for own in parameters]
        self._square = [torch.zeros_like(own) for own in parameters]

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        """Follow the gradients at these rates [concepts], then drop them."""
        self._step += 1
        first, second = (1 - beta**self._step for beta in _BETAS)
        for own, mean, square in zip(self._parameters, self._mean, self._square, strict=True):
            gradient = own.grad
            assert gradient is not None
            mean.lerp_(gradient, 1 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            rate = rates.view(-1, *[1] * (own.dim() - 1))
            own.mul_(1 - rate * self._decay)
            own.sub_(rate * (mean / first) / ((square / second).sqrt() + _EPSILON))
            own.grad = None


def learn(
    lesson: Lesson,
    parameters: Sequence[Tensor],
    *,
    title: str,
    corpus: Corpus,
    examples: Sequence[Tensor],
    loss: Callable[[Rows], Tensor],
    adjust: Callable[[], None] | None = None,
) -> None:
    """Change the parameters in place until every concept's rows have had all their turns.

    Args:
        lesson: Has the concepts, the seed, and a ``Course`` as its settings.
        parameters: Leaves that require gradients; each leads with the concepts.
        title: Name of the method, for the progress bar and messages.
        corpus: The texts.
        examples: For each concept its rows, as ``Timetable`` takes them. [examples, texts]
        loss: Losses [rows] of some rows, to be summed; differentiable in the parameters.
        adjust: Called between clipping and a step, to change parameters and gradients.

    Raises:
        HarnessError: A loss or a gradient is not a number; the message names concept and method.
    """
    from tqdm import tqdm

    course: Course = lesson.settings
    device = parameters[0].device
    tables = [
        Timetable(place, texts, corpus, course, lesson.seed) for place, texts in enumerate(examples)
    ]
    totals = torch.tensor([len(table) for table in tables])
    optimiser = AdamW(parameters, weight_decay=course.weight_decay)
    for step in tqdm(range(int(totals.max())), desc=title, unit="step"):
        rows = Rows.together([table.rows(step) for table in tables if step < len(table)])
        sums = torch.zeros(len(tables), device=device)
        for part in microbatches(rows.width, course.tokens):
            own = rows.select(part).to(device)
            losses = loss(own)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch
            sums.index_add_(0, own.concept, losses.detach())
        norms = _clip(parameters, course.clip)
        _check(lesson, title, sums + norms, step, totals)
        if adjust is not None:
            adjust()
        optimiser.step((course.lr * (1 - step / totals)).clamp_min(0).to(device))


def microbatches(width: Tensor, tokens: int) -> Iterator[Tensor]:
    """Rows, longest first, cut so that none holds more padded tokens than allowed."""
    width, order = width.sort(descending=True, stable=True)
    start = 0
    while start < len(order):
        end = start + max(1, tokens // int(width[start]))
        yield order[start:end]
        start = end


@torch.no_grad()
def _clip(parameters: Sequence[Tensor], most: float) -> Tensor:
    """Clip each concept's gradient, over all parameters together; the norms [concepts] before."""
    gradients = [own.grad for own in parameters if own.grad is not None]
    norms: Tensor = torch.stack([g.reshape(len(g), -1).norm(dim=1) for g in gradients]).norm(dim=0)
    if most:
        kept = (most / (norms + 1e-6)).clamp_max(1)
        for gradient in gradients:
            gradient.mul_(kept.view(-1, *[1] * (gradient.dim() - 1)))
    return norms


def _check(lesson: Lesson, title: str, values: Tensor, step: int, totals: Tensor) -> None:
    wrong = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if not wrong:
        return
    concept = lesson.concepts[wrong[0]]
    raise HarnessError(
        f"{title}: the loss of concept {concept.id} ({concept.text!r}) is not a number at step "
        f"{step + 1} of {totals[wrong[0]]}; try --set {title}.lr={lesson.settings.lr / 10:g} or "
        f"--dtype float32"
    )


def singles(corpus_places: Sequence[Sequence[int]]) -> list[Tensor]:
    """Rows of one text each, for ``learn``: for each concept [examples, 1]."""
    return [torch.tensor(own).unsqueeze(1) for own in corpus_places]
