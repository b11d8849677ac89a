"""``harness taid …``: students distilled from teachers, teachers' distributions captured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.host.completing import one_of
from harness_taid.report.command import report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="TAID: students distilled from teachers.",
)

_DATA = (
    "testbed; a table (.jsonl, .json, .csv, .parquet) with messages, prompt and response, or "
    "instruction, input and output; a folder with train.jsonl; or a data set on the hub."
)
_AddBos = Annotated[
    bool | None,
    typer.Option(
        help="Put a beginning-of-sequence token before prompts, or none, as lm-eval's argument of "
        "that name; default as the tokenizer does.",
        show_default=False,
    ),
]
_LOSS_ON = "Tokens that are counted: response, or all."


@app.callback()
def _group() -> None:
    """TAID: students distilled from teachers."""


app.command()(report)


@app.command()
def objectives() -> None:
    """Show the objectives, with their settings and defaults.

    Example: harness taid objectives
    """
    from harness_taid.objectives import NAMES, described

    for name in NAMES:
        print(f"{name:12}{described(name)}")


@app.command()
def distill(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the student; appears when it is done.")
    ],
    student: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Hub id or folder; testbed:student; layers:0,2,4 or layers:0-28/2 for these of "
            "the teacher's blocks; or scratch:LAYERSxHIDDEN, such as scratch:2x96, for random "
            "weights in the teacher's form.",
        ),
    ],
    data: Annotated[str, typer.Option(metavar="DATA", help=_DATA)] = "HuggingFaceH4/ultrachat_200k",
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hub id, folder (an adapter's too) or testbed:teacher; not for sft.",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            autocompletion=one_of("harness_taid.objectives:NAMES"),
            metavar="NAME",
            help="taid, fkl, rkl, …: see harness taid objectives.",
        ),
    ] = "taid",
    objective_args: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE,…", help="Its settings: t_start=0.2,adaptive=false, or lam=0.1."
        ),
    ] = "",
    compat: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("paper", "reference")),
            metavar="NAME",
            help="paper, or reference (the reference code with its defects).",
        ),
    ] = "paper",
    teacher_logits: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of harness taid capture, in place of the teacher in memory.",
        ),
    ] = None,
    dev: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="Data to validate on; default the data's own split, or a part."
        ),
    ] = "",
    dev_rows: Annotated[int, typer.Option(help="Exchanges to validate on, at most.")] = 500,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="The split on the hub.")] = "",
    rows: Annotated[
        int | None, typer.Option(help="Rows to read, at most; default all (testbed: 3,000).")
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens of an exchange, at most.")] = 2048,
    max_prompt: Annotated[int, typer.Option(help="Tokens of a prompt; longer ones drop.")] = 1536,
    max_response: Annotated[int, typer.Option(help="Tokens of a response; then it is cut.")] = 512,
    loss_on: Annotated[
        str,
        typer.Option(autocompletion=one_of(("response", "all")), metavar="TOKENS", help=_LOSS_ON),
    ] = "response",
    packing: Annotated[
        bool, typer.Option("--packing", help="Pack exchanges into rows instead of padding them.")
    ] = False,
    lora: Annotated[
        str,
        typer.Option(
            metavar="RANK,ALPHA", help="rank,alpha of an adapter to train in place of the weights."
        ),
    ] = "",
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 5,
    steps: Annotated[int, typer.Option(help="Optimiser steps, in place of --epochs.")] = 0,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Highest learning rate; default 1e-4, minillm 5e-6.",
            show_default=False,
        ),
    ] = None,
    warmup: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the steps in which it rises.")
    ] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="Norms and biases are exempt.")] = 0.01,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Exchanges a step, over all processes.")] = 64,
    device_batch_size: Annotated[
        int, typer.Option(help="Rows a process reads at once; bounds memory, changes nothing else.")
    ] = 8,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = False,
    sampler: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("off", "mixed", "adaptive", "on_policy")),
            metavar="NAME",
            help="Train on the student's own outputs: off, mixed, adaptive, on_policy; default "
            "off, minillm on_policy.",
        ),
    ] = "",
    select: Annotated[
        str,
        typer.Option(
            autocompletion=one_of(("auto", "loss", "kl", "rouge")),
            metavar="MEASURE",
            help="Best checkpoint by loss, kl or rouge; auto is kl with a teacher.",
        ),
    ] = "auto",
    validate_every: Annotated[
        int, typer.Option(help="Steps between validations; 0 for one an epoch.")
    ] = 0,
    save_every: Annotated[
        int, typer.Option(help="Steps between checkpoints, beside those of validations.")
    ] = 0,
    save_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds between checkpoints.")
    ] = 600.0,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="DTYPE", help="float32, bfloat16 (autocast); auto: bfloat16 on a GPU."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, or cpu.")] = "auto",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="The student's revision on the hub.")
    ] = "main",
    teacher_revision: Annotated[str, typer.Option(help="The teacher's.")] = "main",
    add_bos_token: _AddBos = None,
    track: Annotated[
        str, typer.Option(metavar="TRACKERS", help="Trackers: wandb, trackio, tensorboard, ….")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 42,
) -> None:
    """Distil a student from a teacher; the best checkpoint on the held-out exchanges is kept.

    Stops and goes on where it was. Several GPUs: accelerate launch -m harness taid distill …

    Example: harness taid distill --student testbed:student --teacher testbed:teacher --data testbed
    --objective taid --steps 100 --out student
    """
    from harness_taid.data.exchanges import Limits
    from harness_taid.network.students import Lora
    from harness_taid.training.options import Options, check

    options = Options(
        out=out,
        student=student,
        data=data,
        objective=objective,
        settings=_settings(objective_args),
        compat=compat,
        teacher=teacher,
        teacher_logits=teacher_logits,
        dev=dev,
        dev_rows=dev_rows,
        split=split,
        rows=rows,
        limits=Limits(total=max_length, prompt=max_prompt, response=max_response),
        loss_on=loss_on,
        packing=packing,
        lora=Lora.parse(lora),
        epochs=epochs,
        steps=steps,
        rate=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        batch_size=batch_size,
        device_batch_size=device_batch_size,
        gradient_checkpointing=gradient_checkpointing,
        sampler=sampler,
        select=select,
        validate_every=validate_every,
        save_every=save_every,
        save_seconds=save_seconds,
        dtype=dtype,
        device=device,
        revision=revision,
        teacher_revision=teacher_revision,
        add_bos_token=add_bos_token,
        track=tuple(name.strip() for name in track.split(",") if name.strip()),
        seed=seed,
    )
    check(options)  # before anything heavy is imported
    from harness_taid.training import distill

    made = distill.distill(options, say=lambda text: typer.echo(text, err=True))
    if made.in_charge:
        state = "already there" if made.present else "written"
        typer.echo(f"{made.folder} ({state}): {distill.summary(made)}")


@app.command()
def capture(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the capture; appears when it is done.")
    ],
    teacher: Annotated[
        str, typer.Option(metavar="MODEL", help="Hub id, folder or testbed:teacher.")
    ],
    data: Annotated[str, typer.Option(metavar="DATA", help=_DATA)] = "HuggingFaceH4/ultrachat_200k",
    top_k: Annotated[int, typer.Option(help="Ids kept of each token; 0 for all.")] = 64,
    dev: Annotated[
        str, typer.Option(metavar="DATA", help="Data that a distillation validates on.")
    ] = "",
    dev_rows: Annotated[int, typer.Option(help="Exchanges to validate on, at most.")] = 500,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="The split on the hub.")] = "",
    rows: Annotated[int | None, typer.Option(help="Rows to read, at most; default all.")] = None,
    max_length: Annotated[int, typer.Option(help="Tokens of an exchange, at most.")] = 2048,
    max_prompt: Annotated[int, typer.Option(help="Tokens of a prompt; longer ones drop.")] = 1536,
    max_response: Annotated[int, typer.Option(help="Tokens of a response; then it is cut.")] = 512,
    loss_on: Annotated[
        str,
        typer.Option(autocompletion=one_of(("response", "all")), metavar="TOKENS", help=_LOSS_ON),
    ] = "response",
    device_batch_size: Annotated[int, typer.Option(help="Rows a forward pass.")] = 8,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, or cpu.")] = "auto",
    revision: Annotated[
        str, typer.Option(metavar="REVISION", help="The teacher's revision on the hub.")
    ] = "main",
    add_bos_token: _AddBos = None,
) -> None:
    """Write a teacher's most likely tokens to disk, to distil without the teacher in memory.

    Stops and goes on where it was. Give distill the same data, lengths and --loss-on.

    Example: harness taid capture --teacher testbed:teacher --data testbed --top-k 64 --out captured
    """
    from harness_taid.data.exchanges import Limits
    from harness_taid.training.options import CaptureOptions, check_capture

    options = CaptureOptions(
        out=out,
        teacher=teacher,
        data=data,
        dev=dev,
        split=split,
        rows=rows,
        dev_rows=dev_rows,
        top_k=top_k,
        limits=Limits(total=max_length, prompt=max_prompt, response=max_response),
        loss_on=loss_on,
        device_batch_size=device_batch_size,
        device=device,
        revision=revision,
        add_bos_token=add_bos_token,
    )
    check_capture(options)  # before anything heavy is imported
    from harness_taid.training import capture

    made = capture.capture(options)
    if made.told:
        typer.echo(f"note: {made.told}", err=True)
    state = "already there" if made.present else "written"
    typer.echo(f"{made.folder} ({state}): {capture.summary(made)}")


def _settings(text: str) -> dict[str, Any]:
    """``name=value,…`` with numbers, true and false.

    Raises:
        HarnessError: A part has another form.
    """
    from harness import HarnessError

    found: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise HarnessError(f"--objective-args {text}: {part} is not name=value")
        found[name] = _value(value)
    return found


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
