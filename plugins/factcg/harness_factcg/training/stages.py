"""One stage of a training: from a model to the best of its checkpoints, through any kills.

A stage works in ``WORK/<stage>/checkpoint-<step>``, which the transformers Trainer writes: weights,
optimiser, schedule, random states, history. A rerun goes on from the last whole one. What the stage
has chosen appears as ``WORK/<stage>-model`` by one rename, with the record ``WORK/<stage>.json``.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainingArguments
from transformers.trainer_callback import ProgressCallback, TrainerState

from harness import HarnessError, Row
from harness.artefacts.reading import read_record
from harness.artefacts.trainings import in_charge, settle, without_bars
from harness.artefacts.writing import appearing, write_json
from harness_factcg import metrics
from harness_factcg.checking.checker import Checker
from harness_factcg.checking.families import CONFIG_KEY, Family, find, head_of
from harness_factcg.checking.heads import head_for
from harness_factcg.checking.loading import Checkpoint
from harness_factcg.checking.verdicts import Pair
from harness_factcg.training.rows import encoded
from harness_factcg.training.starts import Start
from harness_factcg.training.trainer import (
    CheckerTrainer,
    Collator,
    Diary,
    GroupedByLength,
    Guard,
    Progress,
    examples,
    loss_of,
)

if TYPE_CHECKING:
    from harness_factcg.training.options import Options


@dataclass(frozen=True)
class Stage:
    """What a stage trains on, in which folder, and how."""

    name: str
    train: Sequence[Row]
    dev: Sequence[Row]
    work: Path
    options: Options


@dataclass(frozen=True)
class Trained:
    """A finished stage: the folder of its best checkpoint, its record and its figures by step."""

    name: str
    folder: Path
    facts: dict[str, Any]
    lines: list[dict[str, Any]]


def run(stage: Stage, start: Start, texts: Iterable[str], before: Sequence[Trained]) -> Trained:
    """Train a stage, or go on with it; one that is done already is read.

    Args:
        stage: What to do.
        start: The model it begins with.
        texts: What a new tokenizer learns from.
        before: Earlier stages.

    Raises:
        HarnessError: The model cannot be used, a claim leaves no room for a document, the loss or
            a gradient is not finite, or memory ran out.
        ArtefactError: What an earlier run left is damaged.
    """
    arguments = _arguments(stage)
    folder, record = stage.work / f"{stage.name}-model", stage.work / f"{stage.name}.json"
    if not folder.is_dir():
        trainer, facts = _trainer(stage, start.load(texts), arguments, before)
        started = time.monotonic()
        try:
            with without_bars():
                trainer.train(resume_from_checkpoint=_last_checkpoint(stage))
        except torch.OutOfMemoryError as cause:
            raise HarnessError(
                f"out of memory at {stage.options.device_batch_size} rows a forward pass: give "
                "--device-batch-size a smaller one, or --max-length; the result stays the same "
                "with the former"
            ) from cause
        if in_charge():
            diary = next(c for c in trainer.callback_handler.callbacks if isinstance(c, Diary))
            facts |= _chosen(trainer.state) | {"seconds": round(time.monotonic() - started, 1)}
            write_json(record, {"facts": facts, "lines": diary.lines(trainer.state)})
            with appearing(folder) as draft:
                trainer.model.save_pretrained(draft)
                trainer.processing_class.save_pretrained(draft)
            shutil.rmtree(stage.work / stage.name)
        settle()
    kept = read_record(record, _Kept)
    return Trained(stage.name, folder, kept.facts, kept.lines)


@dataclass(frozen=True)
class _Kept:
    """The record of a finished stage."""

    facts: dict[str, Any]
    lines: list[dict[str, Any]]


@dataclass(frozen=True)
class _State:
    """What is needed of ``trainer_state.json``."""

    global_step: int
    log_history: list[dict[str, float | str | None]]
    best_model_checkpoint: str | None = None
    best_metric: float | None = None
    best_global_step: int | None = None
    epoch: float | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)


def _last_checkpoint(stage: Stage) -> str | None:
    """The last checkpoint that is whole: the Trainer writes its state last.

    A state that says the best weights are elsewhere is not one of this training.
    """
    home = stage.work / stage.name
    found = [place for place in home.glob("checkpoint-*") if _step(place) is not None]
    for place in sorted(found, key=lambda place: -(_step(place) or 0)):
        try:
            state = read_record(place / "trainer_state.json", _State)
            TrainerState.load_from_json(str(place / "trainer_state.json"))
        except (HarnessError, TypeError, ValueError):
            continue
        best = state.best_model_checkpoint
        if best is None or (Path(best).parent == home and _step(Path(best)) is not None):
            return str(place)
    return None


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() and len(number) < 10 else None


def _arguments(stage: Stage) -> TrainingArguments:
    options = stage.options
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    device_batch = min(options.device_batch_size, max(1, options.batch_size // processes))
    if options.batch_size % (device_batch * processes):
        raise HarnessError(
            f"--batch-size {options.batch_size} is no multiple of --device-batch-size "
            f"{device_batch} times {processes} process(es)"
        )
    steps = math.ceil(len(stage.train) / options.batch_size) * options.epochs
    every = math.ceil(steps / options.evaluations)
    arguments = TrainingArguments(
        output_dir=str(stage.work / stage.name),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=options.batch_size // (device_batch * processes),
        optim="adamw_torch",
        learning_rate=options.rate,
        adam_epsilon=1e-6,
        weight_decay=0.0,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(options.warmup * steps),
        bf16=options.dtype == "bfloat16",
        use_cpu=options.device == "cpu" or not torch.accelerator.is_available(),
        seed=options.seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="balanced_accuracy",
        logging_steps=max(1, min(10, every)),
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to="none",
    )
    assert arguments.device is not None  # sets the processes up, before any of them waits
    arguments._n_gpu = min(1, arguments.n_gpu)  # one GPU a process: accelerate launch for more
    return arguments


def _trainer(
    stage: Stage, checkpoint: Checkpoint, arguments: TrainingArguments, before: Sequence[Trained]
) -> tuple[CheckerTrainer, dict[str, Any]]:
    """The Trainer of a stage, and what is known of its data."""
    options = stage.options
    family = find("factcg", head_of(checkpoint.model.config)).override(
        chunk_size=options.chunk_size,
        max_length=min(options.max_length, checkpoint.max_length or options.max_length),
    )
    setattr(checkpoint.model.config, CONFIG_KEY, family.to_config())
    head = head_for(checkpoint.model, checkpoint.tokenizer, family)
    ids, cut = encoded(stage.train, checkpoint.tokenizer, family, progress=in_charge())
    trainer = CheckerTrainer(
        head=head,
        sampler=GroupedByLength(
            [len(one) for one in ids], options.batch_size, f"{options.seed} {stage.name}"
        ),
        judge=lambda: judged(checkpoint, family, stage.dev),
        model=checkpoint.model,
        args=arguments,
        train_dataset=examples(ids, [row["label"] for row in stage.train]),
        eval_dataset=list(stage.dev),
        processing_class=checkpoint.tokenizer,
        data_collator=Collator(checkpoint.tokenizer.pad_token_id, head.side),
        callbacks=[Guard(), Diary(*_diary(stage, before))],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress())
    return trainer, {"truncated_rows": cut}


def _diary(stage: Stage, before: Sequence[Trained]) -> tuple[Path, list[dict[str, Any]], str]:
    lines = [line for earlier in before for line in earlier.lines]
    return stage.work / "metrics.jsonl", lines, stage.name


def _chosen(state: Any) -> dict[str, Any]:
    """The step that was chosen, and its dev figures."""
    best = int(Path(state.best_model_checkpoint).name.partition("-")[2])
    (entry,) = (
        entry
        for entry in state.log_history
        if entry["step"] == best and "eval_balanced_accuracy" in entry
    )
    figures = {k.removeprefix("eval_"): v for k, v in entry.items() if k.startswith("eval_")}
    dev = dict(sorted(figures.items()))  # a history read from a checkpoint has another order
    return {"steps": state.global_step, "chosen_step": best, "dev": dev}


def judged(checkpoint: Checkpoint, family: Family, rows: Sequence[Row]) -> Mapping[str, float]:
    """Balanced accuracy, AUROC and mean loss (nats) of a model on some rows, as it is scored.

    Every process scores its share.
    """
    checkpoint.model.eval()
    checker = Checker(checkpoint, family)
    pairs = [Pair(row["doc"], row["claim"]) for row in rows]
    wanted = list(dict.fromkeys(pairs))
    rank, world = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    mine = checker.verdicts(wanted[rank::world])
    scores = [(pair, verdict.margin) for pair, verdict in mine.items()]
    if world > 1:
        from accelerate.utils import gather_object

        scores = gather_object(scores)
    margins = dict(scores)
    items = [
        {"label": row["label"], "margin": margins[pair], "document": row["doc"]}
        for row, pair in zip(rows, pairs, strict=True)
    ]
    found = torch.tensor([item["margin"] for item in items])
    labels = torch.tensor([item["label"] for item in items])
    return {
        "balanced_accuracy": metrics.balanced_accuracy(items),
        "auroc": metrics.auroc(items),
        "loss": float(loss_of(found, labels)) / len(items),
    }
