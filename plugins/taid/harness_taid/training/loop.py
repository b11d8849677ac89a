"""The course of a distillation: steps, validations, checkpoints; the same after any kill.

A step's loss is the sum over the tokens counted in the global batch, divided by their number,
however many forward passes and processes share it. Whatever is random in a step follows from the
seed, the step and the process, so that a run which goes on from a checkpoint draws what it would
have drawn.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from harness import ArtefactError, HarnessError
from harness.errors import one_line
from harness_taid.data.exchanges import Item
from harness_taid.network.batching import Pass, collate, shares
from harness_taid.network.network import Network, Teacher, TeacherOf
from harness_taid.training import validation
from harness_taid.training.checkpoints import CHECKPOINTS, Checkpoints, Say
from harness_taid.training.course import Batches, Course, seed_of
from harness_taid.training.diary import Diary
from harness_taid.training.optimisation import rate_at
from harness_taid.training.student_outputs import Sampler, Writer

Sums = dict[str, Tensor]


@dataclass(frozen=True)
class Ran:
    """A finished run: the step that was chosen, its figures, and all lines of metrics."""

    chosen: int
    figures: dict[str, float]
    lines: list[dict[str, Any]]


class Loop:
    """Runs a course, or goes on with it.

    Args:
        course: What to do.
        accelerator: Of accelerate.
        network: The student with its objective, not wrapped yet.
        optimiser: Over the network's parameters.
        teacher: None where none is needed.
        sampler: Chooses between the data and the student's own outputs.
        writer: Writes these.
        tokenizer: Decodes answers for ROUGE-L.
        work: Folder of checkpoints and metrics.
        say: Told of checkpoints that are damaged.
    """

    def __init__(
        self,
        course: Course,
        accelerator: Any,
        network: Network,
        optimiser: torch.optim.Optimizer,
        *,
        teacher: Teacher | None,
        sampler: Sampler,
        writer: Writer,
        tokenizer: Any,
        work: Path,
        say: Say,
    ) -> None:
        self.course = course
        self._say = say
        self.accelerator = accelerator
        self.plain = network
        self.objective = network.objective
        self.network, self.optimiser = accelerator.prepare(network, optimiser)
        self.teacher = teacher
        self.sampler = sampler
        self.writer = writer
        self.tokenizer = tokenizer
        self.checkpoints = Checkpoints(work / CHECKPOINTS)
        self.diary = Diary(work, self.checkpoints, writes=accelerator.is_main_process)
        self.batches = Batches(course)
        self.best: tuple[int, float] | None = None
        self._saved_at = time.monotonic()

    def run(self) -> Ran:
        """Take all steps; in the end the network has the chosen weights.

        Raises:
            HarnessError: The loss or a gradient is not finite, memory ran out, or the disk is full.
        """
        done = self._resume()
        bar = tqdm(
            range(done + 1, self.course.steps + 1),
            initial=done,
            total=self.course.steps,
            desc="Distilling",
            disable=not self.accelerator.is_main_process,
        )
        try:
            for step in bar:
                line = self._step(step)
                shown = {name: f"{line[name]:.4f}" for name in ("loss", "t") if name in line}
                bar.set_postfix(shown, refresh=False)
                self._after(step, line)
        except torch.OutOfMemoryError as cause:
            raise HarnessError(
                f"out of memory at {self.course.layout.device_batch} rows a forward pass: give "
                "--device-batch-size a smaller one (the result stays the same), or --max-length"
            ) from cause
        last = self.course.steps
        chosen = self.best[0] if self.best else last
        if chosen != last:
            self.checkpoints.load_weights(chosen, self.plain)
        return Ran(chosen, self.diary.dev_figures(chosen), self.diary.lines)

    # ---- a step

    def _step(self, step: int) -> dict[str, Any]:
        """Train on one global batch; returns the step's figures."""
        rank = self.accelerator.process_index
        items, generated = self._items(step)
        counted = sum(item.counted(self.course.layout.loss_on) for item in items)
        by = sum(len(item.ids) - 1 for item in items) if self.objective.counts_masked else counted
        rate = rate_at(step, self.course.steps, self.course.rate, self.course.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of(self.course.seed, step, rank))
        self.network.train()
        value, parts = self._forward_and_back(items, by)
        loss, means = self._reduced(value, parts, counted)
        if not math.isfinite(loss):
            raise HarnessError(self.diary.not_finite("loss", step))
        norm = float(self.accelerator.clip_grad_norm_(self.network.parameters(), self.course.clip))
        if not math.isfinite(norm):
            raise HarnessError(self.diary.not_finite("gradient", step))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        moved = self.objective.after_step(loss, step, means)
        line = {"step": step, "epoch": self.course.epoch(step), "loss": loss, **means, **moved}
        line |= {"lr": rate, "grad_norm": norm, "tokens": counted}
        if self.sampler.kind != "off":
            line |= {"generated": int(generated), "share": self.sampler.share}
        return line

    def _forward_and_back(self, items: Sequence[Item], by: float) -> tuple[Tensor, Sums]:
        """This process's share of the loss, and its sums; gradients are there afterwards."""
        passes = self._passes(items)
        total = _Total(self.accelerator.device)
        for n, read in enumerate(passes):
            last = n == len(passes) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.network):
                teacher = self._teacher_of(read) if self.objective.needs_teacher else None
                loss, parts = self.network(read, teacher, float(by))
                # gradients are averaged over processes, the loss is already divided by all tokens
                self.accelerator.backward(loss * self.accelerator.num_processes)
            total.add(loss, parts)
        return total.value, total.sums

    def _passes(self, items: Sequence[Item]) -> list[Pass]:
        """What this process reads of some exchanges."""
        layout, pad = self.course.layout, self.course.pad
        own = shares(items, layout)[self.accelerator.process_index]
        device = self.accelerator.device
        return [collate(group, layout, items[0], pad).to(device) for group in own]

    def _teacher_of(self, read: Pass) -> TeacherOf:
        assert self.teacher is not None
        with self.accelerator.autocast():
            return self.teacher.of(read)

    def _reduced(
        self, value: Tensor, parts: Mapping[str, Tensor], counted: int
    ) -> tuple[float, dict[str, float]]:
        """The loss and the means of the parts over all processes."""
        names = sorted(self._agreed(list(parts)))
        zero = torch.zeros((), device=value.device, dtype=torch.float64)
        line = torch.stack([value.double(), *(parts.get(name, zero).double() for name in names)])
        loss, *sums = self.accelerator.reduce(line, reduction="sum").tolist()
        return loss, {name: total / counted for name, total in zip(names, sums, strict=True)}

    def _agreed(self, names: list[str]) -> set[str]:
        """Names that any process has: one whose passes count nothing has none."""
        if self.accelerator.num_processes == 1:
            return set(names)
        from accelerate.utils import gather_object

        return set(gather_object(names))

    def _items(self, step: int) -> tuple[list[Item], bool]:
        """What a step trains on, and whether the student wrote it."""
        items = self.batches.at(step)
        if not self.sampler.generates(step):
            return items, False
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        size = 4 * self.course.layout.device_batch
        made: list[tuple[int, Item]] = []
        mine = range(rank, len(items), world)
        for n in range(0, len(mine), size):
            part = mine[n : n + size]
            seed = seed_of(self.course.seed, step, f"{rank} {n}")
            with self.accelerator.autocast():
                answers = self.writer.answers([items[k] for k in part], seed)
            made += zip(part, answers, strict=True)
        if world > 1:
            from accelerate.utils import gather_object

            made = gather_object(made)
        return self.sampler.drawn(
            step, [item for _, item in sorted(made, key=lambda pair: pair[0])]
        ), True

    # ---- after a step

    def _after(self, step: int, line: dict[str, Any]) -> None:
        self._log(line)
        if self.course.validates(step):
            self._validate(step)
        if self.course.saves(step) or self._seconds_are_up():
            self._save(step)

    def _seconds_are_up(self) -> bool:
        up = time.monotonic() - self._saved_at >= self.course.save_seconds
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            (up,) = broadcast_object_list([up])
        return up

    def _validate(self, step: int) -> None:
        """Measure on the exchanges held out; the best so far is remembered."""
        figures = self.measured(self.course.dev)
        chosen_by = validation.figure(self.course.select, figures)
        self.sampler.validated(-chosen_by if self.course.select == "rouge" else chosen_by)
        if validation.better(self.course.select, chosen_by, self.best[1] if self.best else None):
            self.best = (step, chosen_by)
        self._log({"step": step, "epoch": self.course.epoch(step), **figures})

    @torch.no_grad()
    def measured(self, items: Sequence[Item]) -> dict[str, float]:
        """Figures of the student on exchanges."""
        self.network.eval()
        counted = sum(item.counted(self.course.layout.loss_on) for item in items)
        measure, total = validation.Measure(), _Total(self.accelerator.device)
        for read in self._passes(items):
            teacher = None if self.teacher is None else self._teacher_of(read)
            total.add(*self.network(read, teacher, float(counted), measure))
        loss, means = self._reduced(total.value, total.sums, counted)
        figures = {"dev_loss": loss} | {f"dev_{name}": mean for name, mean in means.items()}
        if self.course.select == "rouge":
            figures["dev_rouge_l"] = self._rouge(items)
        return figures

    def _rouge(self, items: Sequence[Item]) -> float:
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        size = 4 * self.course.layout.device_batch
        own = validation.rouge(self.writer, self.tokenizer, items[rank::world], size)
        if world > 1:
            from accelerate.utils import gather_object

            own = gather_object(own)
        return math.fsum(own) / len(own)

    def _log(self, line: dict[str, Any]) -> None:
        self.diary.add(line)
        own = {name: value for name, value in line.items() if name != "step"}
        self.accelerator.log(own, step=line["step"])

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "content": self.course.content,
            "objective": self.objective.state_dict(),
            "sampler": self.sampler.state(),
            "best": self.best,
            "lines": self.diary.lines,
        }
        best = self.best[0] if self.best else None
        self.checkpoints.save(
            step, self.plain, _inner(self.optimiser), self.sampler.tensors(), state, best=best
        )
        self._saved_at = time.monotonic()

    def _resume(self) -> int:
        """Go back to the last checkpoint; returns its step, 0 where there is none."""
        step, lines = self.checkpoints.newest(self._say), []
        if step is not None:
            state = self.checkpoints.state(step)
            if state.content != self.course.content:
                raise HarnessError(
                    f"the data have changed since the run in {self.checkpoints.folder} began: "
                    "remove that folder to begin again, or bring the old data back"
                )
            if state.best is not None:
                self.best = (int(state.best[0]), state.best[1])
                self.checkpoints.check_best(self.best[0])
            replay = self.checkpoints.load(step, self.plain, _inner(self.optimiser))
            try:
                self.sampler.resume(state.sampler.model_dump(), replay)
                self.objective.load_state_dict(state.objective)
            except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as cause:
                where = self.checkpoints.place(step)
                raise ArtefactError(f"{where} is damaged: {one_line(cause, 200)}") from cause
            lines = state.lines
        self.diary.begin(lines)
        self.accelerator.wait_for_everyone()
        return step or 0


def _inner(optimiser: Any) -> torch.optim.Optimizer:
    """The optimiser that accelerate has wrapped."""
    inner: torch.optim.Optimizer = getattr(optimiser, "optimizer", optimiser)
    return inner


class _Total:
    """Adds up a process's passes."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.zeros((), device=device)
        self.sums: Sums = {}

    def add(self, loss: Tensor, parts: Sums) -> None:
        self.value = self.value + loss.detach()
        for name, part in parts.items():
            self.sums[name] = self.sums[name] + part if name in self.sums else part
