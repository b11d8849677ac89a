"""SFT: the whole model fine-tuned on a concept's positives.

Wu et al. 2025 (arXiv 2501.17148), appendix of baselines; for Gemma-2-2B and the first 20 concepts.

    min_θ  −mean_t log P_θ(y_t | x, y_<t)   over the response tokens of a batch of positives

Every concept begins at the model as it was and leaves a file with the parameters that have changed,
as large as the model: 5 GB for Gemma-2-2B in bf16. ``sft.concepts`` says how many of the data's
concepts are trained, from the first on; the others cannot be steered towards. Worked example: a
step at the rate η moves a parameter whose gradient keeps its sign by about η; 8 steps at rates
falling from 4e-5 move it by 1.8e-4.

When a model is steered, requests are answered concept by concept; the concept's parameters take the
place of the model's while its requests run, and the model's own come back.

Deviations: a copy of the model in fp32 is trained, so that steps which bf16 would round away add
up; what is kept is in the model's dtype. No dropout is active. No learning rate is warmed up.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness import ArtefactError, HarnessError
from harness.models.blocks import blocks
from harness_axbench.activations.likelihood import spoken
from harness_axbench.activations.loading import width_of
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.kinds import WEIGHTS
from harness_axbench.methods.base import EditingMethod, Lesson, Stored
from harness_axbench.methods.fine_tuning import fine_tune
from harness_axbench.methods.stacked import Course
from harness_axbench.steering.editors import Editor, Places, Rows
from harness_axbench.steering.plan import Plan


@dataclass(frozen=True, kw_only=True)
class SftSettings(Course):
    """The paper's.

    Attributes:
        batch_size: Rows a batch.
        accumulate: Batches a step.
        epochs: Times all rows are seen.
        lr: AdamW's rate at the first step.
        clip: Largest norm of the gradient.
        concepts: How many concepts are trained, from the first on.
    """

    batch_size: int = 18
    accumulate: int = 4
    epochs: int = 8
    lr: float = 4e-5
    clip: float = 1.0
    concepts: int = 20


class Sft(EditingMethod):
    """A model a concept."""

    name: ClassVar[str] = "sft"
    draws: ClassVar[bool] = True
    kind: ClassVar[str] = WEIGHTS
    uses_negatives: ClassVar[bool] = False
    settings: ClassVar[type] = SftSettings

    @classmethod
    def covered(cls, concepts: Sequence[Concept], settings: Any) -> Sequence[Concept]:
        return concepts[: settings.concepts]

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        (concept,), corpus = lesson.concepts, spoken(lesson.texts)
        before = dict(corpus.reader.model.named_parameters())
        model = copy.deepcopy(corpus.reader.model).float().requires_grad_()
        fine_tune(
            model,
            list(model.parameters()),
            corpus=corpus,
            places=corpus.positive[0],
            course=lesson.settings,
            seed=lesson.seed,
            title=cls.name,
            concept=concept,
        )
        after = {n: own.detach().to(before[n].dtype) for n, own in model.named_parameters()}
        changed = {n: own.cpu() for n, own in after.items() if not torch.equal(own, before[n])}
        return Stored(tensors=changed)

    @classmethod
    def editor(cls, model: Any, plan: Plan) -> Editor:
        return WeightsEditor(model, plan)


class WeightsEditor(Editor):
    """Puts a concept's parameters in the place of the model's; keeps those used last at hand.

    Args:
        model: A transformers model.
        plan: A dictionary's method ``sft``.

    Raises:
        ArtefactError: The model has another width or fewer blocks.
    """

    uniform: ClassVar[bool] = True

    def __init__(self, model: Any, plan: Plan) -> None:
        plan.found.check_fits(hidden_size=width_of(model), n_layers=len(blocks(model)))
        self._model, self._plan = model, plan
        self._last: tuple[int, dict[str, Tensor]] | None = None

    def under(self, rows: Rows, places: Places) -> AbstractContextManager[Any]:
        concepts = {None if row is None else row.concept_id for row in rows}
        if len(concepts) > 1:
            raise HarnessError(f"{self._plan.method} steers all rows of a batch alike")
        (concept,) = concepts
        return nullcontext() if concept is None else swapped(self._model, self._of(concept))

    def _of(self, concept: int) -> dict[str, Tensor]:
        if self._last is None or self._last[0] != concept:
            self._last = None  # before the next are loaded, to have only one of them in memory
            found, method = self._plan.found, self._plan.method
            stored, own = found.parameters(method, concept), dict(self._model.named_parameters())
            unlike = [n for n, t in stored.items() if n not in own or own[n].shape != t.shape]
            if unlike:
                raise ArtefactError(
                    f"{found.folder}: {method} changes {unlike[0]}, which this model does not have "
                    f"in that shape"
                )
            placed = {n: t.to(own[n].device, own[n].dtype) for n, t in stored.items()}
            self._last = (concept, placed)
        return self._last[1]


@contextmanager
def swapped(model: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Put these in the place of a model's parameters while the context lasts."""
    own = dict(model.named_parameters())
    before = {name: own[name].data for name in parameters}
    try:
        for name, values in parameters.items():
            own[name].data = values
        yield
    finally:
        for name, values in before.items():
            own[name].data = values
