"""A student distilled from a teacher, as Shing et al. 2025 do (TAID, arXiv 2501.16937, §5).

AdamW at 1e-4 with weight decay 0.01 (norms and biases exempt), a cosine without warm-up, 64
exchanges a step, five epochs, gradients clipped to norm 1; bfloat16 autocast on a GPU. The loss is
taken on the tokens of the responses. After each epoch the student is validated, and the best one
is kept.

    harness taid distill --teacher T --student S --data D --objective taid --out student

A distillation goes on where it was stopped: it works in a folder beside the result, named by a hash
of the recipe, and the result appears by one rename: a checkpoint that transformers opens, with
``distillation.json`` (what it follows from) and ``metrics.jsonl`` (a line a step).

Deviations: exchanges are padded to the longest of their batch, or packed without attending to each
other, in place of 2,048 tokens always. The reference chooses by ROUGE-L alone; here KL from the
teacher is the default, as it costs no generation.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from harness import HarnessError
from harness.artefacts import recipes
from harness.artefacts.trainings import alone, in_charge, settle, without_bars
from harness.asking.special import lacks_bos
from harness.asking.store import key_of
from harness_taid import objectives
from harness_taid.data.exchanges import Encoded, Encoder, Item, bos_in, content_hash, split
from harness_taid.data.sources import Source
from harness_taid.network.batching import Layout
from harness_taid.network.network import Network, check_packing, sampled_by
from harness_taid.network.offline_teacher import Capture
from harness_taid.training.cast import Cast, Say, cast_of
from harness_taid.training.checkpoints import CHECKPOINTS, Checkpoints
from harness_taid.training.course import Course
from harness_taid.training.loop import Loop
from harness_taid.training.optimisation import optimiser_for
from harness_taid.training.options import STUDENTS, Options, check, recipe_of
from harness_taid.training.provenance import MANIFEST
from harness_taid.training.result import Recipe, curve, described, write
from harness_taid.training.student_outputs import Sampler, Writer
from harness_taid.training.tracking import begin_tracking


@dataclass(frozen=True)
class Made:
    """A finished distillation.

    ``manifest`` is ``distillation.json``; ``present`` tells whether it was there before,
    ``in_charge`` whether this process of several speaks for all.
    """

    folder: Path
    manifest: dict[str, Any]
    present: bool
    in_charge: bool = True


def distill(options: Options, say: Say = print) -> Made:
    """Distil and write the student, or return the equal one that is already there.

    Args:
        options: What to do.
        say: Told what a user should know, a line at a time.

    Raises:
        HarnessError: An option is wrong, the data or a model cannot be used, the loss is not
            finite, the disk is full, or the folder holds something else.
    """
    out = options.out.expanduser().absolute()
    sources = check(options)
    _objective(options, steps=1, per_epoch=1)
    recipe = recipe_of(options, sources)
    work = out.with_name(f".{out.name}.distilling-{key_of(**recipe)[:12]}")
    present = recipes.kept(out, recipe, name=MANIFEST, words=STUDENTS)
    if present is not None:
        shutil.rmtree(work, ignore_errors=True)  # a kill may have left it
        return Made(out, present, True, in_charge())
    with alone(out, "distillation", lambda: _told(work)), without_bars():
        _run(options, sources, recipe, work, say if in_charge() else _silent)
        settle()
        if in_charge():
            shutil.rmtree(work, ignore_errors=True)
    manifest = recipes.kept(out, recipe, name=MANIFEST, words=STUDENTS)
    assert manifest is not None
    return Made(out, manifest, False, in_charge())


def summary(made: Made) -> str:
    """What was distilled, and how good it is on dev, in a line."""
    facts = made.manifest
    figures = ", ".join(f"{name} {value:.4f}" for name, value in facts["dev"].items())
    return (
        f"{facts['recipe']['objective']}, {facts['data']['train_rows']} exchanges, step "
        f"{facts['chosen_step']} of {facts['steps']}" + (f", {figures}" if figures else "")
    )


def _told(work: Path) -> str:
    """What of an interrupted distillation is kept, as a part of a sentence."""
    checkpoints = Checkpoints(work / CHECKPOINTS)
    begins = "begins anew" if checkpoints.last() is None else "goes on from there"
    return f"{checkpoints.told()}: the same command {begins}"


def _run(options: Options, sources: list[Source], recipe: Recipe, work: Path, say: Say) -> None:
    """From the options to the finished folder."""
    started = time.monotonic()
    accelerator = _accelerator(options)
    cast = cast_of(options, accelerator.device, say)
    train, dev, told = _exchanges(options, sources, cast, say)
    course = _course(options, train, dev, accelerator, cast)
    if isinstance(cast.teacher, Capture):
        cast.teacher.check([*train, *dev], "the data")
    loop = _loop(options, course, accelerator, cast, work, say=say)
    begin_tracking(options.track, accelerator, recipe)
    ran = loop.run()
    facts = {
        "teacher": described(cast.teacher_model, recipe.get("teacher")),
        "student": described(cast.student, recipe["student"]),
        "data": told | {"train_rows": len(train), "dev_rows": len(dev), "sha256": course.content},
        "vocabulary": cast.vocabulary,
        "bos": bos_in(train, cast.tokenizer),
        "steps": course.steps,
        "steps_per_epoch": course.steps_per_epoch,
        "chosen_step": ran.chosen,
        "selected_by": course.select if dev else "last step",
        "dev": ran.figures,
        "curve": curve(ran),
        "processes": accelerator.num_processes,
        "seconds": round(time.monotonic() - started, 1),
    }
    write(options.out.expanduser().absolute(), work, recipe, facts, cast)
    for tracker in accelerator.trackers:
        tracker.finish()


def _accelerator(options: Options) -> Any:
    import accelerate

    on_gpu = options.device == "auto" and torch.cuda.is_available()
    half = options.dtype == "bfloat16" or (options.dtype == "auto" and on_gpu)
    patience = accelerate.InitProcessGroupKwargs(timeout=timedelta(weeks=1))
    # what ran in this process before, in whatever precision, has begun one that all would share
    accelerate.state.AcceleratorState._reset_state()
    try:
        return accelerate.Accelerator(
            cpu=options.device == "cpu",
            mixed_precision="bf16" if half else "no",
            log_with=list(options.track) or None,
            project_dir=f"{options.out.expanduser().absolute()}-track" if options.track else None,
            kwargs_handlers=[patience],
        )
    except (ValueError, ImportError) as cause:
        raise HarnessError(f"accelerate cannot begin: {cause}") from cause


def _objective(options: Options, *, steps: int, per_epoch: int) -> objectives.Objective:
    return objectives.build(
        options.objective,
        options.settings,
        total_steps=steps,
        steps_per_epoch=per_epoch,
        compat=options.compat,
    )


def _exchanges(
    options: Options, sources: list[Source], cast: Cast, say: Say
) -> tuple[list[Item], list[Item], dict[str, Any]]:
    """What to train on, what to validate on, and what became of the rows."""
    encoder = Encoder(
        cast.tokenizer, cast.template, options.limits, add_bos_token=options.add_bos_token
    )
    source, own_dev = sources[0], sources[1:]
    found = encoder.encode(source.rows(options.rows), source.name, progress=in_charge())
    dev_rows = own_dev[0].rows(options.dev_rows) if own_dev else source.dev_rows(options.dev_rows)
    if dev_rows and options.dev_rows:
        held = encoder.encode(dev_rows, f"{source.name}, dev")
        train, dev = found.items, held.items
    else:
        held = Encoded([])
        train, dev = split(found.items, options.dev_rows, options.seed)
    if not train:
        raise HarnessError(f"{source.option} {source.name}: no exchange is left to train on")
    for part, what in ((found, source.name), (held, "dev")):
        line = part.told(what)
        if line:
            say(f"note: {line}")
    if options.dev_rows and not dev:
        say("note: too few exchanges to hold any out: the last step is kept, not validated")
    highest = max(int(item.ids.max()) for item in (*train, *dev))
    if highest >= cast.vocabulary:
        raise HarnessError(
            f"the data have token {highest}, and student and teacher share {cast.vocabulary} ids"
        )
    bos = bos_in(train, cast.tokenizer)
    if lacking := lacks_bos(cast.student.config, cast.tokenizer, [bos]):
        say(f"warning: {lacking}: --add-bos-token")
    lost = {"dropped": dict(found.dropped), "cut": found.cut, "special": found.special}
    return train, dev, lost


def _course(
    options: Options, train: list[Item], dev: list[Item], accelerator: Any, cast: Cast
) -> Course:
    per_epoch = math.ceil(len(train) / options.batch_size)
    steps = options.steps or per_epoch * options.epochs
    select = options.select
    if select == "auto":
        select = "loss" if cast.teacher is None else "kl"
    if select == "kl" and cast.teacher is None:
        raise HarnessError("--select kl needs a teacher: use loss or rouge")
    return Course(
        train=train,
        dev=dev,
        steps=steps,
        batch=options.batch_size,
        layout=Layout(
            device_batch=options.device_batch_size,
            room=options.limits.total if options.packing else 0,
            loss_on=options.loss_on,
            processes=accelerator.num_processes,
        ),
        rate=options.learning_rate,
        warmup=math.ceil(options.warmup * steps),
        clip=options.clip,
        seed=options.seed,
        select=select,
        validate_every=options.validate_every,
        save_every=options.save_every,
        save_seconds=options.save_seconds,
        pad=cast.tokenizer.pad_token_id or 0,
        content=content_hash([*train, *dev]),
    )


def _loop(
    options: Options, course: Course, accelerator: Any, cast: Cast, work: Path, *, say: Say
) -> Loop:
    objective = _objective(options, steps=course.steps, per_epoch=course.steps_per_epoch)
    sharded = accelerator.distributed_type.value == "FSDP"
    alone = options.sampling != "off" or options.lora or options.select == "rouge"
    if sharded and (alone or objective.parameters()):
        raise HarnessError(
            "ctkd, an adapter, ROUGE-L and the student's own outputs need the whole student on "
            "each device: launch without FSDP"
        )
    student = cast.student
    if options.gradient_checkpointing:
        student.gradient_checkpointing_enable()
        student.enable_input_require_grads()
    network = Network(student, objective, cast.vocabulary).to(accelerator.device)
    if options.packing:
        check_packing(student, options.student)
        if cast.teacher_model is not None:
            check_packing(cast.teacher_model, str(options.teacher))
    optimiser = optimiser_for(
        network, objective.parameters(), rate=course.rate, decay=options.weight_decay
    )
    mixes = objective.needs_weights
    writer = Writer(
        student=student,
        vocabulary=cast.vocabulary,
        ends=cast.ends,
        pad=course.pad,
        response=options.limits.response,
        total=options.limits.total,
        mixed_with=cast.teacher_model if mixes else None,
        alpha=sampled_by(objective).mixing if mixes else 0.0,
    )
    return Loop(
        course,
        accelerator,
        network,
        optimiser,
        teacher=cast.teacher,
        sampler=Sampler(options.sampling, options.seed),
        writer=writer,
        tokenizer=cast.tokenizer,
        work=work,
        say=say,
    )


def _silent(text: str) -> None:
    """Said by the process in charge alone."""
