"""The transformers Trainer for fact checkers: the loss on the scored margin, dev evaluation, order.

With m the log-odds of "supported" that the head of the model gives (``heads``), the same number
that ``hf-fact-checker`` scores by, a row of label y costs

    loss = −y log σ(m) − (1 − y) log σ(−m)

which for a classifier of two labels is the cross-entropy. The mean is taken over the effective
batch, whatever number of processes and forward passes share it. Two rows with y = 1, m = 2 and
y = 0, m = −1 cost 0.127 and 0.313.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from harness import ArtefactError, HarnessError
from harness.artefacts.trainings import order
from harness.artefacts.writing import append_line, write_lines
from harness.errors import one_line
from harness_factcg.checking.heads import Head
from harness_factcg.checking.planning import Ids

PREFIX = "eval_"
"""What the Trainer puts before the names of dev figures."""

Example = Mapping[str, Any]
"""A prompt's ``input_ids`` and the ``labels`` of its row, 0 or 1."""


def loss_of(margins: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cost of margins [batch] (nats) with labels [batch], 0 or 1."""
    return binary_cross_entropy_with_logits(margins.float(), labels.float(), reduction="sum")


class Collator:
    """Pads prompts to the longest of their batch, or to a fixed width.

    Args:
        pad: The padding token.
        side: Where the padding goes.
        width: Tokens of every batch; by default as many as its longest prompt has.
    """

    def __init__(self, pad: int, side: str, width: int | None = None) -> None:
        self._pad = pad
        self._side = side
        self._width = width

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [batch, tokens], ``labels`` [batch]."""
        width = self._width or max(len(example["input_ids"]) for example in examples)
        ids = torch.full((len(examples), width), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, example in enumerate(examples):
            count = len(example["input_ids"])
            place = slice(count) if self._side == "right" else slice(width - count, None)
            ids[row, place] = torch.as_tensor(example["input_ids"], dtype=torch.long)
            mask[row, place] = 1
        labels = torch.tensor([example["labels"] for example in examples])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class GroupedByLength(torch.utils.data.Sampler[int]):
    """Another order of the rows in each epoch, told by seed and epoch alone.

    Args:
        lengths: Tokens of each row.
        batch: Rows of the effective batch.
        seed: Tells these orders from others.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: str) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(order(self._lengths, self._batch, f"{self._seed} epoch {self._epoch}"))

    def __len__(self) -> int:
        return len(self._lengths)


class CheckerTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """Trains a model through its head.

    Args:
        head: Reads the margin off the model.
        sampler: The order of the training rows.
        judge: Dev figures of the model, by name.
        options: Arguments of ``transformers.Trainer``.
    """

    control: Any

    def __init__(
        self,
        *,
        head: Head,
        sampler: GroupedByLength,
        judge: Callable[[], Mapping[str, float]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._head = head
        self._sampler = sampler
        self._judge = judge
        self.model_accepts_loss_kwargs = True  # the loss is divided here, by the whole batch

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedByLength:
        return self._sampler

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        labels = inputs["labels"]
        margins = self._head.margins(model, inputs["input_ids"], inputs["attention_mask"])
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch
        loss = loss_of(margins, labels) / rows
        if not torch.isfinite(loss):
            raise HarnessError(self._not_finite("loss"))
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return (loss, margins) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        found = {PREFIX + name: value for name, value in self._judge().items()}
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with _reading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_rng_state(checkpoint)

    def _not_finite(self, what: str) -> str:
        return not_finite(what, self.state.global_step + 1, self.args.output_dir)


@contextmanager
def _reading(checkpoint: str | None) -> Iterator[None]:
    """Whatever a damaged checkpoint makes torch and transformers raise is one line."""
    try:
        yield
    except (HarnessError, torch.OutOfMemoryError):
        raise
    except Exception as cause:
        raise ArtefactError(
            f"{checkpoint} is damaged ({one_line(cause, 200)}): remove it, and run again"
        ) from cause


def not_finite(what: str, step: int, folder: str) -> str:
    """The words for a training that has come to NaN or infinity."""
    return (
        f"the {what} of step {step} is not finite; the last good checkpoint is kept in {folder}. "
        "Train with a lower --lr, or with --dtype float32"
    )


class Guard(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Stops before a gradient that is not finite reaches the weights; evaluates the last step."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any
    ) -> None:
        gradients = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise HarnessError(not_finite("gradient", state.global_step + 1, args.output_dir))

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
            control.should_save = True
        return control


class Progress(ProgressCallback):  # type: ignore[misc]  # transformers is untyped here
    """The Trainer's bar, with its figures beside it rather than on lines of their own."""

    def on_log(
        self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        if self.training_bar is not None and logs:
            shown = {
                name.removeprefix(PREFIX): round(value, 4)
                for name, value in logs.items()
                if name in ("loss", PREFIX + "balanced_accuracy")
            }
            if shown:
                self.training_bar.set_postfix(shown)


class Diary(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Keeps every figure as a line of JSON; after a kill, those of the checkpoint and no others.

    Args:
        file: The JSON-lines file.
        before: Lines of earlier stages.
        stage: The stage's name.
    """

    def __init__(self, file: Path, before: Sequence[Mapping[str, Any]], stage: str) -> None:
        self._file = file
        self._before = before
        self._stage = stage

    def lines(self, state: Any) -> list[dict[str, Any]]:
        """The figures of a training's history."""
        return [self._line(entry) for entry in state.log_history if "train_runtime" not in entry]

    def _line(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        figures = {
            ("dev_" + name.removeprefix(PREFIX) if name.startswith(PREFIX) else name): value
            for name, value in entry.items()
        }
        return {"stage": self._stage, "step": figures.pop("step")} | dict(sorted(figures.items()))

    def on_train_begin(
        self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            write_lines(self._file, [*self._before, *self.lines(state)], dumps=finite_json)

    def on_log(
        self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "train_runtime" not in state.log_history[-1]:
            append_line(self._file, self._line(state.log_history[-1]), dumps=finite_json)


def finite_json(line: Mapping[str, Any]) -> str:
    """A line of figures as JSON; what is not finite is null."""
    bad = {k: v for k, v in line.items() if isinstance(v, float) and not math.isfinite(v)}
    return json.dumps({**line, **dict.fromkeys(bad, None)})


def examples(ids: Sequence[Ids], labels: Sequence[int]) -> list[dict[str, Any]]:
    """Rows as the Trainer takes them."""
    return [{"input_ids": one, "labels": label} for one, label in zip(ids, labels, strict=True)]
