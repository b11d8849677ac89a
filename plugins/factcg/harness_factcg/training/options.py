"""What training is asked to do, parsed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_factcg.checking.chunking import CHUNK_SIZE


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to train, on what, how, and where it goes.

    Attributes:
        out: The checkpoint's folder.
        model: Hub id or folder of an encoder, an encoder-decoder or a checker, ``testbed:checker``,
            or ``scratch:LAYERSxHIDDEN``.
        stage1: Files of the first stage.
        stage2: Files of the second stage.
        dev: Files to choose the model on; by default a share of each stage's rows.
        dev_share: That share.
        skip_withheld: Whether released rows without their document are left out.
        epochs: Passes over each stage's rows.
        rate: Highest learning rate.
        warmup: Share of the steps in which the rate rises.
        batch_size: Rows an optimiser step, over all processes.
        device_batch_size: Rows a process reads at once; bounds memory, changes nothing else.
        max_length: Tokens a prompt may have.
        chunk_size: Word tokens of a chunk at inference.
        dtype: ``float32``, or ``bfloat16`` for autocast; the weights are float32 in both.
        evaluations: Evaluations, and checkpoints, a stage.
        device: ``auto`` takes a GPU where there is one; ``cpu``.
        revision: The model's revision on the hub.
        seed: Of the split, the order, a new head, and dropout.
    """

    out: Path
    model: str
    stage1: Sequence[Path] = ()
    stage2: Sequence[Path] = ()
    dev: Sequence[Path] = ()
    dev_share: float = 0.05
    skip_withheld: bool = False
    epochs: int = 1
    rate: float = 5e-5
    warmup: float = 0.06
    batch_size: int = 48
    device_batch_size: int = 8
    max_length: int = 2048
    chunk_size: int = CHUNK_SIZE
    dtype: str = "float32"
    evaluations: int = 10
    device: str = "auto"
    revision: str = "main"
    seed: int = 2024
