"""What ``harness taid distill`` is asked to do, checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import ArtefactError, HarnessError
from harness.artefacts.checksums import digest, fingerprint
from harness.artefacts.recipes import Words
from harness.errors import meant
from harness.models.checkpoints import checkpoint_of, content_of, place_of
from harness_taid.data.exchanges import LOSS_ON, Limits
from harness_taid.data.sources import Source
from harness_taid.network.captures import MANIFEST, read_capture
from harness_taid.network.pruning import LAYERS, layers_of, spelt
from harness_taid.network.students import SCRATCH, Lora, check_name
from harness_taid.training.tracking import check_trackers

DTYPES = ("auto", "float32", "bfloat16")
SAMPLERS = ("off", "mixed", "adaptive", "on_policy")
SELECT = ("auto", "loss", "kl", "rouge")
MINILLM, SFT = "minillm", "sft"
_RATES = {MINILLM: 5e-6}
_RATE = 1e-4
_SHARING = ("device", "device_batch_size", "packing", "gradient_checkpointing")
_KEEPING = ("out", "save_every", "save_seconds", "track")
_SHARED = {"limits": "--max-length, --max-prompt, --max-response", "data": "--data, --dev"}
STUDENTS = Words(
    other="another student (it differs in: {unlike})",
    flags=_SHARED | {"rate": "--lr", "settings": "--objective-args"},
)
CAPTURES = Words(other="another capture (it differs in: {unlike})", flags=_SHARED)
"""What messages say of a folder that holds another student, or another capture."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to distil, from what, how, and where it goes.

    Attributes:
        out: The student's folder.
        student: Hub id, folder, ``testbed:student``, ``scratch:LAYERSxHIDDEN``, or ``layers:0,2,4``
            for these of the teacher's blocks.
        data: A table, a folder of tables, a data set on the hub, or ``testbed``.
        objective: One of ``objectives.NAMES``.
        settings: The objective's settings.
        compat: ``paper`` or ``reference``.
        teacher: Hub id, folder or ``testbed:teacher``; not needed for sft and with a capture.
        teacher_logits: A folder of ``harness taid capture``, in place of the teacher in memory.
        dev: Data to validate on; by default the data's own split, or a part held out.
        dev_rows: Exchanges to validate on, at most; 0 for none.
        split: The split on the hub.
        rows: Rows to read, at most.
        limits: How many tokens an exchange may have.
        loss_on: Which tokens are counted: the response's, or all.
        packing: Pack exchanges instead of padding them.
        lora: A low-rank adapter to train in place of the weights.
        epochs: Passes over the data.
        steps: Optimiser steps, in place of epochs; 0 for epochs.
        rate: Highest learning rate; by default 1e-4, for minillm 5e-6.
        warmup: Share of the steps in which it rises.
        weight_decay: Of matrices; norms and biases are exempt.
        clip: Largest norm of the gradient.
        batch_size: Exchanges a step, over all processes.
        device_batch_size: Rows a process reads at once; bounds memory, changes nothing else.
        gradient_checkpointing: Compute activations twice to keep less of them.
        sampler: Student-generated outputs: off, mixed, adaptive, on_policy.
        select: What the best checkpoint has the best of: loss, kl, rouge; auto takes kl where there
            is a teacher.
        validate_every: Steps between validations; 0 for one an epoch.
        save_every: Steps between checkpoints; 0 for none but those of validations.
        save_seconds: Seconds between checkpoints.
        dtype: ``bfloat16`` for autocast (the weights stay float32), ``float32``; ``auto`` takes
            the former on a GPU.
        device: ``auto`` takes a GPU where there is one; ``cpu``.
        revision: The student's revision on the hub.
        teacher_revision: The teacher's.
        add_bos_token: Whether a beginning-of-sequence token is put before prompts, as lm-eval's
            argument of that name; None leaves it to the tokenizers.
        track: Trackers of accelerate, such as wandb, trackio, tensorboard.
        seed: Of the split, the order, random weights, dropout and samples.
    """

    out: Path
    student: str
    data: str
    objective: str = "taid"
    settings: Mapping[str, Any] = field(default_factory=dict)
    compat: str = "paper"
    teacher: str | None = None
    teacher_logits: Path | None = None
    dev: str = ""
    dev_rows: int = 500
    split: str = ""
    rows: int | None = None
    limits: Limits = field(default_factory=Limits)
    loss_on: str = "response"
    packing: bool = False
    lora: Lora | None = None
    epochs: int = 5
    steps: int = 0
    rate: float | None = None
    warmup: float = 0.0
    weight_decay: float = 0.01
    clip: float = 1.0
    batch_size: int = 64
    device_batch_size: int = 8
    gradient_checkpointing: bool = False
    sampler: str = ""
    select: str = "auto"
    validate_every: int = 0
    save_every: int = 0
    save_seconds: float = 600.0
    dtype: str = "auto"
    device: str = "auto"
    revision: str = "main"
    teacher_revision: str = "main"
    add_bos_token: bool | None = None
    track: tuple[str, ...] = ()
    seed: int = 42

    @property
    def learning_rate(self) -> float:
        """The highest learning rate, as asked for or as the objective has it."""
        return self.rate if self.rate is not None else _RATES.get(self.objective, _RATE)

    @property
    def sampling(self) -> str:
        """The sampler, as asked for or as the objective has it."""
        return self.sampler or ("on_policy" if self.objective == MINILLM else "off")


def check(options: Options) -> list[Source]:
    """Refuse what cannot be; returns the data sets, not read yet.

    Raises:
        HarnessError: An option is wrong, or a file or folder is missing.
    """
    _check_numbers(options)
    for name, value, known in (
        ("loss-on", options.loss_on, LOSS_ON),
        ("dtype", options.dtype, DTYPES),
        ("device", options.device, ("auto", "cpu")),
        ("sampler", options.sampling, SAMPLERS),
        ("select", options.select, SELECT),
    ):
        if value not in known:
            raise HarnessError(f"--{name} {value}: {meant(value, known)}")
    check_trackers(options.track)
    _check_teacher(options)
    captured = options.teacher_logits is not None
    check_name(options.student, teacher=options.teacher, captured=captured)
    _check_sampling(options)
    return _sources(options)


def _sources(options: Options | CaptureOptions) -> list[Source]:
    given = {"--data": options.data} | ({"--dev": options.dev} if options.dev else {})
    return [Source.of(name, split=options.split, option=own) for own, name in given.items()]


def _check_numbers(options: Options) -> None:
    for name in ("epochs", "batch_size", "device_batch_size"):
        if getattr(options, name) < 1:
            raise HarnessError(f"--{name.replace('_', '-')} is at least 1")
    for name in ("steps", "dev_rows", "validate_every", "save_every"):
        if getattr(options, name) < 0:
            raise HarnessError(f"--{name.replace('_', '-')} is not negative")
    if options.rows is not None and options.rows < 1:
        raise HarnessError("--rows is at least 1")
    rate = options.learning_rate
    for name, value in (
        ("lr", rate),
        ("clip", options.clip),
        ("save-seconds", options.save_seconds),
    ):
        if not value > 0 or (name == "lr" and math.isinf(value)):
            raise HarnessError(f"--{name} {value}: a number above 0 is needed")
    if not 0 <= options.warmup < 1:
        raise HarnessError(f"--warmup {options.warmup}: a share from 0, below 1, is needed")
    if not 0 <= options.weight_decay < math.inf:
        raise HarnessError(f"--weight-decay {options.weight_decay}: it is not negative")
    limits = options.limits
    if min(limits.total, limits.prompt, limits.response) < 1 or limits.total < 2:
        raise HarnessError("--max-length, --max-prompt and --max-response are at least 1")


def _check_teacher(options: Options) -> None:
    if options.teacher_logits is not None:
        if not options.teacher_logits.expanduser().is_dir():
            raise ArtefactError(f"--teacher-logits {options.teacher_logits}: no such folder")
        if options.objective in (MINILLM, SFT):
            raise HarnessError(f"--teacher-logits has no use for --objective {options.objective}")
    elif options.teacher is None and options.objective != SFT:
        raise HarnessError(
            f"--objective {options.objective} needs --teacher (or --teacher-logits of a capture)"
        )
    if options.teacher is not None:
        checkpoint_of(options.teacher)


def _check_sampling(options: Options) -> None:
    kind = options.sampling
    if options.objective == MINILLM and kind != "on_policy":
        raise HarnessError(f"--objective minillm learns from its own outputs: no --sampler {kind}")
    if kind != "off" and options.teacher_logits is not None:
        raise HarnessError(
            f"--sampler {kind} needs the teacher on what the student writes: give --teacher in "
            "place of --teacher-logits"
        )
    if kind != "off" and options.objective == SFT:
        raise HarnessError(f"--sampler {kind} needs a teacher: sft would copy the student")
    if kind != "off" and options.loss_on == "all":
        raise HarnessError(f"--sampler {kind} trains on responses: no --loss-on all")
    if kind == "adaptive" and options.dev_rows == 0:
        raise HarnessError("--sampler adaptive goes by the validation loss: give --dev-rows")


def recipe_of(options: Options, sources: list[Source]) -> dict[str, Any]:
    """What decides the result but for rounding: not how the work is shared or kept."""
    own = asdict(options)
    for name in (*_SHARING, *_KEEPING, "dev", "split", "data", "teacher_logits"):
        del own[name]
    if options.add_bos_token is None:
        del own["add_bos_token"]
    own |= {"rate": options.learning_rate, "sampler": options.sampling}
    if options.student.startswith(LAYERS):
        own["student"] = spelt(layers_of(options.student))
    elif not options.student.startswith(SCRATCH):
        own["student_sha256"] = fingerprint(place_of(options.student))
    if options.teacher is not None:
        own["teacher_sha256"] = content_of(options.teacher)
    if options.teacher_logits is not None:
        folder = options.teacher_logits.expanduser()
        captured = read_capture(folder).recipe
        own["teacher_logits_sha256"] = digest(folder / MANIFEST)
        if options.teacher is None:
            own["teacher"], own["teacher_revision"] = captured.teacher, captured.revision
            own["teacher_sha256"] = captured.teacher_sha256
        elif own["teacher_sha256"] != captured.teacher_sha256:
            raise HarnessError(
                f"--teacher-logits {folder} was captured from {captured.teacher}, not from "
                f"--teacher {options.teacher}: one student has one teacher"
            )
    return {**own, "data": [source.as_dict() for source in sources]}


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """What to capture.

    Attributes:
        out: The folder.
        teacher: Hub id, folder or ``testbed:teacher``.
        data: As for a distillation, with ``dev``, ``split``, ``rows`` and ``dev_rows``.
        top_k: Ids kept of each token; 0 for all.
        limits: How long an exchange may be.
        loss_on: Which tokens: of the response, or all.
        device_batch_size: Rows a forward pass.
        device: ``auto`` or ``cpu``.
        revision: The teacher's revision on the hub.
        add_bos_token: As for a distillation.
    """

    out: Path
    teacher: str
    data: str
    dev: str = ""
    split: str = ""
    rows: int | None = None
    dev_rows: int = 500
    top_k: int = 64
    limits: Limits = field(default_factory=Limits)
    loss_on: str = "response"
    device_batch_size: int = 8
    device: str = "auto"
    revision: str = "main"
    add_bos_token: bool | None = None


def check_capture(options: CaptureOptions) -> list[Source]:
    """Refuse what cannot be; returns the data sets, not read yet.

    Raises:
        HarnessError: An option is wrong, or a file or folder is missing.
    """
    if options.top_k < 0:
        raise HarnessError(f"--top-k {options.top_k}: give a number of ids, or 0 for all")
    if options.device_batch_size < 1:
        raise HarnessError("--device-batch-size is at least 1")
    if options.loss_on not in LOSS_ON:
        raise HarnessError(f"--loss-on {options.loss_on}: {meant(options.loss_on, LOSS_ON)}")
    checkpoint_of(options.teacher)
    return _sources(options)
