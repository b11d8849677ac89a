"""Classifiers on a model's last state, one a concept, learnt side by side.

    dropout → Linear d → d/2 → ReLU → dropout → Linear d/2 → 2,   P = softmax of the two logits

The state is that of a text's last token behind the last block and the final norm (transformers'
``hidden_states[-1]``). The model is frozen, so that each text's state is computed once, from the
layer's outputs on; what is trained are the heads alone, with cross-entropy on the logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from harness import ArtefactError, HarnessError
from harness_axbench.activations.corpus import Corpus
from harness_axbench.methods.base import Lesson
from harness_axbench.methods.stacked import Course, Rows, learn, singles

_STRIDE = 1_000_003  # keeps the seeds of neighbouring runs apart


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Course):
    """The paper's.

    Attributes:
        batch_size: Rows a batch, of each concept.
        accumulate: Batches a step.
        epochs: Times all rows are seen.
        lr: AdamW's rate at the first step.
        weight_decay: AdamW's, decoupled.
        tokens: Tokens of the texts a microbatch; only their last states are used.
        dropout: Share of the numbers left out.

    Raises:
        HarnessError: A number is out of its range.
    """

    batch_size: int = 18
    accumulate: int = 2
    epochs: int = 24
    lr: float = 4e-4
    weight_decay: float = 2e-4
    tokens: int = 2**20
    dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dropout < 1:
            raise HarnessError(f"setting dropout={self.dropout} is not below 1")


@dataclass(frozen=True)
class Heads:
    """A classifier for each concept.

    Attributes:
        inner: [concepts, hidden/2, hidden]
        inner_bias: [concepts, hidden/2]
        outer: [concepts, 2, hidden/2]
        outer_bias: [concepts, 2]
    """

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    @classmethod
    def begin(cls, concepts: int, width: int, seed: int) -> Heads:
        """Heads that all begin alike, as torch's linear layers do."""
        source = torch.Generator().manual_seed(seed)

        def uniform(*shape: int, inputs: int) -> Tensor:
            bound = inputs**-0.5
            own = torch.empty(shape).uniform_(-bound, bound, generator=source)
            return own.repeat(concepts, *[1] * len(shape))

        half = width // 2
        return cls(
            uniform(half, width, inputs=width),
            uniform(half, inputs=width),
            uniform(2, half, inputs=half),
            uniform(2, inputs=half),
        )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name, for an artefact."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device, width: int) -> Heads:
        """From an artefact, for a model of a width.

        Raises:
            ArtefactError: A tensor is missing or of another shape.
        """
        half = width // 2
        shapes = ((half, width), (half,), (2, half), (2,))
        for own, shape in zip(fields(cls), shapes, strict=True):
            if own.name not in tensors or tuple(tensors[own.name].shape[1:]) != shape:
                raise ArtefactError(f"heads need a tensor '{own.name}' {['concepts', *shape]}")
        return cls(*(tensors[own.name].to(device) for own in fields(cls)))

    def select(self, index: Tensor) -> Heads:
        """The heads of other concepts: ``index`` [n] says which."""
        return Heads(*(own[index] for own in self.tensors.values()))

    def logits(
        self, states: Tensor, first: Tensor | None = None, second: Tensor | None = None
    ) -> Tensor:
        """Logits [heads, rows, 2] of states [heads, rows, hidden].

        Args:
            states: Each head's rows.
            first: What the states are multiplied by: dropout. [heads, rows, hidden]
            second: What the inner layer's outputs are. [heads, rows, hidden/2]
        """
        states = states if first is None else states * first
        middle = torch.baddbmm(self.inner_bias.unsqueeze(1), states, self.inner.mT).relu()
        middle = middle if second is None else middle * second
        return torch.baddbmm(self.outer_bias.unsqueeze(1), middle, self.outer.mT)


def trained(lesson: Lesson, settings: HeadSettings, title: str) -> Heads:
    """The heads of a lesson's concepts; methods of the same settings share one training."""
    corpus = lesson.texts
    key = ("heads", settings, lesson.seed)
    if key not in corpus.shared:
        corpus.shared[key] = _trained(replace(lesson, settings=settings), title)
    found: Heads = corpus.shared[key]
    return found


def _trained(lesson: Lesson, title: str) -> Heads:
    corpus, settings = lesson.texts, lesson.settings
    states = last_states(corpus)
    own = Heads.begin(len(lesson.concepts), lesson.hidden_size, lesson.seed)
    own = Heads(*(part.to(corpus.device).requires_grad_() for part in own.tensors.values()))
    positive = torch.tensor([len(places) for places in corpus.positive], device=corpus.device)
    both = corpus.both
    kept = dropouts(settings, max(map(len, both)), lesson.hidden_size, lesson.seed)
    kept = kept.to(corpus.device)

    def loss(rows: Rows) -> Tensor:
        slot = _slots(rows.concept)
        shape = (len(both), int(slot.max()) + 1)

        def placed(values: Tensor) -> Tensor:
            table = values.new_zeros(*shape, values.shape[-1])
            table[rows.concept, slot] = values
            return table

        own_kept = kept[rows.epoch, rows.example] / (1 - settings.dropout)
        first, second = own_kept.split([lesson.hidden_size, lesson.hidden_size // 2], -1)
        logits = own.logits(placed(states[rows.texts[:, 0]]), placed(first), placed(second))
        labels = (rows.example < positive[rows.concept]).long()
        chosen = logits[rows.concept, slot]
        return functional.cross_entropy(chosen, labels, reduction="none") * rows.per_row

    learn(
        lesson,
        list(own.tensors.values()),
        title=title,
        corpus=corpus,
        examples=singles(both),
        loss=loss,
    )
    return Heads(*(part.detach() for part in own.tensors.values()))


def _slots(concept: Tensor) -> Tensor:
    """Each row's number [rows] among the rows of its concept."""
    order = concept.argsort(stable=True)
    counts = concept.bincount()
    first = (counts.cumsum(0) - counts)[concept[order]]
    slots = torch.empty_like(concept)
    slots[order] = torch.arange(len(concept), device=concept.device) - first
    return slots


def dropouts(settings: HeadSettings, examples: int, width: int, seed: int) -> Tensor:
    """What dropout keeps of each example in each epoch: inputs, then the inner layer's outputs.

    An epoch's generator draws example by example, so that more of them change nothing.

    Returns:
        [epochs, examples, width + width/2]
    """
    epochs = []
    for epoch in range(settings.epochs):
        source = torch.Generator().manual_seed(seed * _STRIDE + epoch)
        rows = [torch.rand(width + width // 2, generator=source) for _ in range(examples)]
        epochs.append(torch.stack(rows) >= settings.dropout)
    return torch.stack(epochs)


@torch.no_grad()
def last_states(corpus: Corpus) -> Tensor:
    """Each text's last state, in fp32: [texts, hidden]."""
    from tqdm import tqdm

    order = sorted(range(len(corpus.texts)), key=lambda place: -len(corpus.texts[place].ids))
    size = corpus.reader.batch_size
    found = torch.empty(len(order), corpus.texts[0].hidden.shape[-1], device=corpus.device)
    with tqdm(total=len(order), desc="last states", unit="text") as bar:
        for start in range(0, len(order), size):
            places = order[start : start + size]
            batch = corpus.batch(places)
            states = corpus.upper.states(batch.hidden, batch.mask.long())
            found[places] = at_last(states, batch.mask).float()
            bar.update(len(places))
    return found


def at_last(states: Tensor, mask: Tensor) -> Tensor:
    """The state of each row's last token [batch, hidden]; padding is on the right."""
    last = mask.sum(1) - 1
    return states[torch.arange(len(states), device=states.device), last]
