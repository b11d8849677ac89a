"""LoReFT: low-rank edits of several blocks' outputs at the ends of the prompt.

Wu et al. 2024, *ReFT: Representation Finetuning for Language Models* (arXiv 2404.03592), Eq. 2, as
Wu et al. 2025 (arXiv 2501.17148) train it on a concept's positives:

    Φ(h) = h + Rᵀ(Wh + b − Rh)   R [rank, hidden] of orthonormal rows, W [rank, hidden], b [rank]
    min  −mean_t log P_Φ(y_t | x, y_<t)   over the response tokens of a batch

R, W and b of each layer are its own; the edit applies at the first 5 tokens of the prompt from p on
and at its last 5, once where they overlap, and at no token of the answer. There is no factor, and
nothing to score a text by.

Worked example: hidden size 2, rank 1, R = (1, 0), W = (0, 1), b = 0.5, h = (3, 4): Wh + b = 4.5,
Rh = 3, so that Φ(h) = (3 + 1.5, 4) = (4.5, 4): the coordinate that R reads takes the value Wh + b.

Readings: R begins as a random orthonormal matrix and stays orthonormal through torch's Householder
parametrization, whose parameters AdamW moves; W and b begin as torch's linear layer does. The
prompt ends where the response begins: its last tokens are those of the chat template that ask for
an answer. Which layers: see ``layers``.

Deviations: all concepts of a shard learn at once (``stacked``), each as it would alone, and only
the blocks above the lowest edited one run, from outputs of that block that are read once. The
batches of a step are averaged; the reference adds them up before it clips. It draws starts and
shuffles from torch's global generator; here all concepts begin alike, and rows come as ``stacked``
says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from harness import HarnessError
from harness.models.blocks import blocks
from harness_axbench.activations.blocks import block_output
from harness_axbench.activations.corpus import Corpus, Text
from harness_axbench.activations.layers import AUTO, chosen_layers
from harness_axbench.activations.likelihood import spoken, surprise
from harness_axbench.activations.reader import Reader
from harness_axbench.methods.base import EditingMethod, Lesson, Stored
from harness_axbench.methods.loreft_editor import ENDS, Edits, LoreftEditor, ends, prompts_edited
from harness_axbench.methods.stacked import Course, Rows, learn, singles
from harness_axbench.steering.editors import Editor
from harness_axbench.steering.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Settings(Course):
    """The paper's for Gemma-2-2B; for Gemma-2-9B batches of 9, 4 a step, and ``lr`` 4e-4.

    Attributes:
        batch_size: Rows a batch, of each concept.
        accumulate: Batches a step.
        epochs: Times all rows are seen.
        lr: AdamW's rate at the first step.
        clip: Largest norm of a concept's gradient.
        rank: Rows of R.
        layers: ``auto`` (see ``layers``), or blocks such as ``5+10+15+20``.
    """

    batch_size: int = 18
    accumulate: int = 2
    epochs: int = 24
    lr: float = 9e-4
    clip: float = 1.0
    rank: int = 4
    layers: str = AUTO


class Loreft(EditingMethod):
    """Low-rank edits of a few blocks."""

    name: ClassVar[str] = "loreft"
    draws: ClassVar[bool] = True
    uses_negatives: ClassVar[bool] = False
    settings: ClassVar[type] = Settings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        settings, model = lesson.settings, lesson.texts.reader.model
        layers = _layers(settings.layers, model)
        corpus = _reread(spoken(lesson.texts), layers[0], settings.tokens)
        learner = _Learner(lesson, len(layers)).to(corpus.device)

        def loss(rows: Rows) -> Tensor:
            batch = corpus.batch(rows.texts[:, 0].tolist())
            where = ends(batch.mask & ~batch.response, corpus.reader.prefix)
            own = learner.edits().select(rows.concept)
            with prompts_edited(model, layers[1:], own, where, first=1):
                hidden = own.apply(0, batch.hidden, where)
                return surprise(corpus, batch, hidden) * rows.per_token

        learn(
            lesson,
            list(learner.parameters()),
            title=cls.name,
            corpus=corpus,
            examples=singles(corpus.positive),
            loss=loss,
        )
        with torch.no_grad():
            own = learner.edits()
        tensors = {"rotation": own.rotation, "source": own.source, "offset": own.offset}
        return Stored(
            tensors={name: value.detach().cpu() for name, value in tensors.items()},
            facts={"layers": list(layers), "rank": settings.rank, "ends": ENDS},
        )

    @classmethod
    def editor(cls, model: Any, plan: Plan) -> Editor:
        return LoreftEditor(model, plan)


class _Learner(nn.Module):
    """R, W and b of every concept while they are learnt; all begin alike."""

    rotation: Tensor

    def __init__(self, lesson: Lesson, n_layers: int) -> None:
        super().__init__()
        concepts, rank, width = len(lesson.concepts), lesson.settings.rank, lesson.hidden_size
        source = torch.Generator().manual_seed(lesson.seed)
        rotation = torch.empty(n_layers, rank, width)
        for own in rotation:
            nn.init.orthogonal_(own, generator=source)
        bound = width**-0.5
        weight = torch.empty(n_layers, rank, width).uniform_(-bound, bound, generator=source)
        offset = torch.empty(n_layers, rank).uniform_(-bound, bound, generator=source)
        self.rotation = nn.Parameter(rotation.repeat(concepts, 1, 1, 1))
        self.source = nn.Parameter(weight.repeat(concepts, 1, 1, 1))
        self.offset = nn.Parameter(offset.repeat(concepts, 1, 1))
        # trivialized, it would hold a random basis of hidden × hidden for each R
        orthogonal(self, "rotation", orthogonal_map="householder", use_trivialization=False)

    def edits(self) -> Edits:
        """The edits of all concepts, as they are now."""
        return Edits(self.rotation, self.source, self.offset)


def _layers(setting: str, model: nn.Module) -> tuple[int, ...]:
    try:
        return chosen_layers(setting, len(blocks(model)))
    except HarnessError as cause:
        raise HarnessError(f"{cause}; for example --set loreft.layers=1+2") from cause


def _reread(corpus: Corpus, layer: int, tokens: int) -> Corpus:
    """The positives as outputs of another layer."""
    old = corpus.reader
    if layer == old.layer:
        return corpus
    reader = Reader(
        old.model,
        old.tokenizer,
        layer=layer,
        batch_size=old.batch_size,
        prefix=old.prefix,
        chat=old.chat,
        add_bos_token=old.encoder.add_bos_token,
    )
    texts: list[Text] = list(corpus.texts)
    left = sorted({p for own in corpus.positive for p in own}, key=lambda p: -len(texts[p].ids))
    while left:
        size = max(1, tokens // len(texts[left[0]].ids))
        part, left = left[:size], left[size:]
        batch = corpus.batch(part)
        found = block_output(reader.model, layer, batch.ids, batch.mask.long())
        for place, hidden in zip(part, found, strict=True):
            text = texts[place]
            texts[place] = replace(text, hidden=hidden[: len(text.ids)].clone())
    return replace(corpus, reader=reader, texts=texts)
