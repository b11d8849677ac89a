"""LoRA: low-rank additions to some linear layers, trained on a concept's positives.

Hu et al. 2021 (arXiv 2106.09685), with the rank-stabilised scaling of Kalajdzievski 2023 (arXiv
2312.03732), as Wu et al. 2025 (arXiv 2501.17148) train it:

    f(x) = W·x + (α/√r) · B·A·x     A [r, in], B [out, r], in the attention's output projection
    min  −mean_t log P(y_t | x, y_<t)   over the response tokens of a batch of positives

A begins random, B as 0; dropout is on x. Adapters are made, trained and taken off by ``peft``, one
concept after another; nothing of them stays in the model. Worked example: r = 4, α = 32: the factor
is 16; A = (1, 0), B = (2) with r = 1, α = 1, x = (3, 5): 2·3 = 6 is added.

When a model is steered, rows of different concepts share a batch: each has its own A and B. There
is no factor, and nothing to score a text by. Which blocks: see ``layers``.

Deviations: each concept starts from the run's seed, so that it does not depend on the others. Of
the model itself no dropout is active. As in the reference's code, gradients are not clipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from harness import HarnessError
from harness.models.blocks import blocks
from harness_axbench.activations.layers import AUTO, chosen_layers
from harness_axbench.activations.likelihood import spoken
from harness_axbench.methods.base import EditingMethod, Lesson, Stored
from harness_axbench.methods.fine_tuning import fine_tune
from harness_axbench.methods.lora_editor import LoraEditor, LowRank
from harness_axbench.methods.stacked import Course
from harness_axbench.steering.editors import Editor
from harness_axbench.steering.plan import Plan


@dataclass(frozen=True, kw_only=True)
class LoraSettings(Course):
    """The paper's for Gemma-2-2B; for Gemma-2-9B ``lr`` is 5e-3.

    Attributes:
        batch_size: Rows a batch.
        accumulate: Batches a step.
        epochs: Times all rows are seen.
        lr: AdamW's rate at the first step.
        rank: r.
        alpha: α.
        dropout: Share of x left out in training.
        target: The linear layer of a block that is added to.
        layers: ``auto`` (see ``layers``), or blocks such as ``5+10+15+20``.

    Raises:
        HarnessError: A number is out of its range.
    """

    batch_size: int = 18
    accumulate: int = 2
    epochs: int = 24
    lr: float = 9e-4
    rank: int = 4
    alpha: float = 32.0
    dropout: float = 0.05
    target: str = "o_proj"
    layers: str = AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dropout < 1:
            raise HarnessError(f"setting dropout={self.dropout} is not below 1")


class Lora(EditingMethod):
    """Adapters of a few blocks."""

    name: ClassVar[str] = "lora"
    draws: ClassVar[bool] = True
    uses_negatives: ClassVar[bool] = False
    settings: ClassVar[type] = LoraSettings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        from tqdm import tqdm

        settings, corpus = lesson.settings, spoken(lesson.texts)
        model = corpus.reader.model
        layers = chosen_layers(settings.layers, len(blocks(model)))
        names = targets(model, layers, settings.target)
        learnt: list[LowRank] = []
        concepts = list(zip(lesson.concepts, corpus.positive, strict=True))
        for concept, places in tqdm(concepts, desc=cls.name, unit="concept"):
            with seeded(lesson.seed, corpus.device), adapted(model, names, settings) as own:
                fine_tune(
                    model,
                    own.parameters,
                    corpus=corpus,
                    places=places,
                    course=settings,
                    seed=lesson.seed,
                    title=cls.name,
                    concept=concept,
                )
                learnt.append(own.stored())
        return Stored(
            tensors={
                "a": torch.stack([own.a for own in learnt]),
                "b": torch.stack([own.b for own in learnt]),
            },
            facts={"targets": names, "scaling": settings.alpha / settings.rank**0.5},
        )

    @classmethod
    def editor(cls, model: Any, plan: Plan) -> Editor:
        return LoraEditor(model, plan)


def targets(model: nn.Module, layers: Sequence[int], target: str) -> list[str]:
    """Names of the linear layers that are added to, one a block.

    Raises:
        HarnessError: A block has no, or more than one, linear layer of that name.
    """
    own = blocks(model)
    known = {id(module): name for name, module in model.named_modules()}
    names = []
    for layer in layers:
        linear = {n: m for n, m in own[layer].named_modules() if isinstance(m, nn.Linear)}
        found = [m for n, m in linear.items() if n == target or n.endswith(f".{target}")]
        if len(found) != 1:
            there = ", ".join(linear) or "none, its projections are of another class"
            raise HarnessError(
                f"lora: block {layer} of {type(model).__name__} has {len(found)} linear layers "
                f"{target!r} instead of one; choose with --set lora.target=NAME among: {there}"
            )
        names.append(known[id(found[0])])
    return names


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random numbers begin at a seed, and go on as before when the context ends."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class _Adapters:
    """The adapters in a model, in the order of their names."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        found: Any = [model.get_submodule(name) for name in names]
        for layer in found:
            layer.lora_dropout.train()
        self._a = [layer.lora_A["default"].weight for layer in found]
        self._b = [layer.lora_B["default"].weight for layer in found]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [*self._a, *self._b]

    def stored(self) -> LowRank:
        """Copies of A [layers, r, in] and B [layers, out, r], in fp32 and in memory."""
        a, b = ([own.detach().float().cpu() for own in parts] for parts in (self._a, self._b))
        return LowRank(torch.stack(a), torch.stack(b))


@contextmanager
def adapted(model: nn.Module, names: Sequence[str], settings: LoraSettings) -> Iterator[_Adapters]:
    """A model with fresh adapters while the context lasts; then it is as it was."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        use_rslora=True,
        lora_dropout=settings.dropout,
        target_modules=list(names),
    )
    needed = {name: own.requires_grad for name, own in model.named_parameters()}
    wrapped: Any = get_peft_model(model, config)
    try:
        yield _Adapters(model, names)
    finally:
        wrapped.unload()
        for name, own in model.named_parameters():
            own.requires_grad_(needed[name])
