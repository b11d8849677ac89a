"""Fact checkers trained in two stages, as Lei et al. 2025 do (arXiv 2501.17144, §4).

Stage 1 teaches from general pairs (ANLI, CG2C-MHQA, MiniCheck's C2D), stage 2, from the model that
stage 1 chose, from documents (CG2C-Doc, MiniCheck's D2C). Either alone is fine. AdamW at 5e-5 with
ε = 1e-6 and no weight decay, linear warm-up over 6 % of the steps, effective batch 48, one epoch a
stage, seed 2024; 5 % of the rows are held out, never a part of a pair or of a document, and the
checkpoint with the best balanced accuracy on them is kept.

    harness factcg train --stage2 CG2C_doc.jsonl --model microsoft/deberta-v3-large --out checker

A training goes on where it was stopped: it works in a folder beside the result, named by a hash of
the recipe, and the result appears by one rename.

Deviations: prompts are padded to the longest of their batch, not to 2,048 tokens. One template
serves training and inference, and a training document is put as inference puts a chunk: its
sentences joined by line breaks, cut at its end if the prompt is too long. Gradients are clipped to
norm 1, the Trainer's default.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness import ArtefactError, HarnessError, Row
from harness.artefacts import recipes
from harness.artefacts.checksums import fingerprint
from harness.artefacts.reading import fitting
from harness.artefacts.trainings import alone, in_charge, settle
from harness.artefacts.writing import appearing
from harness.asking.store import key_of
from harness.errors import meant, shown
from harness.testbed import resolve
from harness_factcg.checking.verdicts import prompt
from harness_factcg.training import rows as training_data
from harness_factcg.training import scratch
from harness_factcg.training.options import Options
from harness_factcg.training.rows import Source
from harness_factcg.training.stages import Stage, Trained, run
from harness_factcg.training.starts import Start

MANIFEST = "training.json"
METRICS = "metrics.jsonl"
FORM = "harness-factcg-checker-1"
DTYPES = ("float32", "bfloat16")
_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers")
_WORDS = recipes.Words(
    other="another checker (it differs in: {unlike})",
    flags={"rate": "--lr", "data": "--stage1, --stage2"},
)


@dataclass(frozen=True)
class Made:
    """A finished training.

    ``manifest`` is ``training.json``; ``present`` tells whether it was there before, ``in_charge``
    whether this process of several speaks for all.
    """

    folder: Path
    manifest: dict[str, Any]
    present: bool
    in_charge: bool = True


def train(options: Options) -> Made:
    """Train and write the checkpoint, or return the equal one that is already there.

    Raises:
        HarnessError: An option is wrong, the data or the model cannot be used, the loss is not
            finite, or the folder holds something else.
    """
    out = options.out.expanduser().absolute()
    _check(options)
    files = {
        name: [_source(options, path, f"--{name}") for path in paths]
        for name, paths in (("stage1", options.stage1), ("stage2", options.stage2))
        if paths
    }
    dev_files = [_source(options, path, "--dev") for path in options.dev]
    recipe = _recipe(options, files, dev_files)
    work = out.with_name(f".{out.name}.training-{key_of(**recipe)[:12]}")
    present = recipes.kept(out, recipe, name=MANIFEST, words=_WORDS)
    if present is not None:
        shutil.rmtree(work, ignore_errors=True)  # a kill may have left it
        return Made(out, present, True, in_charge())
    with alone(out, "training", lambda: _told(work)):
        dev = training_data.read(dev_files)
        if dev:
            training_data.check_labels(dev, "the rows of --dev")
        rows = {
            name: _split(options, training_data.read(found), dev) for name, found in files.items()
        }
        done = _stages(options, rows, work)
        if in_charge():
            _write(out, work, recipe, rows, done)
            shutil.rmtree(work)
        settle()
    manifest = recipes.kept(out, recipe, name=MANIFEST, words=_WORDS)
    assert manifest is not None
    return Made(out, manifest, False, in_charge())


def summary(made: Made) -> str:
    """What was trained, on how much, and how good it is on dev, in a line."""
    record = _record(made)
    parts = []
    for stage in record.stages:
        train, dev = (sum(rows.values()) for rows in (stage.train_rows, stage.dev_rows))
        parts.append(
            f"{stage.stage}: {train} rows, step {stage.chosen_step} of {stage.steps}, "
            f"balanced accuracy {stage.dev.balanced_accuracy:.3f} on {dev} dev rows"
        )
    files = [file for own in (*record.recipe.data.values(), record.recipe.dev) for file in own]
    if withheld := sum(file.withheld for file in files):
        parts.append(f"left out: {withheld:,} rows whose documents are withheld")
    return shown("; ".join(parts))


def at_chance(made: Made) -> bool:
    """Whether the checkpoint tells claims apart on dev no better than a coin does."""
    return _record(made).stages[-1].dev.balanced_accuracy <= 0.5


@dataclass(frozen=True)
class _File:
    withheld: int = 0


@dataclass(frozen=True)
class _Files:
    data: dict[str, list[_File]]
    dev: list[_File]


@dataclass(frozen=True)
class _Dev:
    balanced_accuracy: float


@dataclass(frozen=True)
class _Stage:
    stage: str
    train_rows: dict[str, int]
    dev_rows: dict[str, int]
    chosen_step: int
    steps: int
    dev: _Dev


@dataclass(frozen=True)
class _Record:
    """What is told of a training; all else in its record is not looked at."""

    recipe: _Files
    stages: Annotated[list[_Stage], Field(min_length=1)]


def _record(made: Made) -> _Record:
    return fitting(_Record, made.manifest, made.folder / MANIFEST, ArtefactError)


def _check(options: Options) -> None:
    if not options.stage1 and not options.stage2:
        raise HarnessError(
            "there is nothing to train on: give --stage1 FILE, --stage2 FILE or both"
        )
    if options.dtype not in DTYPES:
        raise HarnessError(f"--dtype {options.dtype}: {meant(options.dtype, DTYPES)}")
    for name in ("epochs", "batch_size", "device_batch_size", "evaluations", "chunk_size"):
        if getattr(options, name) < 1:
            raise HarnessError(f"--{name.replace('_', '-')} is at least 1")
    if not (math.isfinite(options.rate) and options.rate > 0):
        raise HarnessError(f"--lr {options.rate}: a number above 0 is needed")
    for name in ("warmup", "dev_share"):
        if not 0 < getattr(options, name) < 1:
            raise HarnessError(f"--{name.replace('_', '-')} lies between 0 and 1")
    if options.model.startswith(scratch.PREFIX):
        scratch.shape_of(options.model)


def _source(options: Options, path: Path, option: str) -> Source:
    return Source.of(path, skip_withheld=options.skip_withheld, option=option)


def _recipe(
    options: Options, files: dict[str, list[Source]], dev: Sequence[Source]
) -> dict[str, Any]:
    """What decides the result but for rounding: not how the work is shared or kept."""
    own = asdict(options)
    for name in ("out", "stage1", "stage2", "dev", "device", "device_batch_size"):
        del own[name]
    del own["skip_withheld"]  # the files say how many rows they leave out
    own["model"] = {"name": options.model, "sha256": fingerprint(resolve(options.model))}
    data = {name: [source.as_dict() for source in found] for name, found in files.items()}
    return {**own, "data": data, "dev": [source.as_dict() for source in dev]}


def _split(options: Options, rows: list[Row], dev: list[Row]) -> tuple[list[Row], list[Row]]:
    left_out = ", once the rows whose documents are withheld are left out"
    what = f"the training files{left_out if options.skip_withheld else ''}"
    training_data.check_labels(rows, what)
    if dev:
        return rows, dev
    return training_data.split(rows, options.dev_share, options.seed)


def _told(work: Path) -> str:
    """What of an interrupted training is kept, as a part of a sentence."""
    if not any(work.glob("*/checkpoint-*/trainer_state.json")) and not any(work.glob("*.json")):
        return "there is no checkpoint yet, and nothing is kept"
    return f"the last checkpoint is kept in {work}: the same command goes on from there"


def _stages(
    options: Options, rows: dict[str, tuple[list[Row], list[Row]]], work: Path
) -> list[Trained]:
    """Train one stage after the other, each from what the one before has chosen."""
    texts = (
        text
        for train, _ in rows.values()
        for row in train
        for text in (row["doc"], prompt("", row["claim"]))
    )
    start = Start(
        options.model, revision=options.revision, max_length=options.max_length, seed=options.seed
    )
    done: list[Trained] = []
    for name, (train, dev) in rows.items():
        stage = Stage(name, train, dev, work, options)
        done.append(run(stage, start, texts, done))
        start = replace(start, name=str(done[-1].folder))
    return done


def _write(
    out: Path,
    work: Path,
    recipe: dict[str, Any],
    rows: dict[str, tuple[list[Row], list[Row]]],
    done: Sequence[Trained],
) -> None:
    """The last stage's model with the record of all, by one rename."""
    with appearing(out) as draft:
        shutil.copytree(done[-1].folder, draft, dirs_exist_ok=True)
        shutil.copyfile(work / METRICS, draft / METRICS)
        stages = [
            {"stage": stage.name} | _counts(*rows[stage.name]) | stage.facts for stage in done
        ]
        recipes.write_manifest(draft, FORM, recipe, {"stages": stages}, _LIBRARIES, name=MANIFEST)


def _counts(train: Sequence[Row], dev: Sequence[Row]) -> dict[str, Any]:
    return {
        f"{name}_rows": {"supported": counts[1], "unsupported": counts[0]}
        for name, counts in (
            ("train", Counter(row["label"] for row in train)),
            ("dev", Counter(row["label"] for row in dev)),
        )
    }
