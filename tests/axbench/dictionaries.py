"""Dictionaries of the testbed's teacher, for tests of engines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from once import once


def trained(*methods: str) -> Path:
    """A dictionary of block 1, with these methods; no test may change it."""
    return once(f"teacher-1-{'-'.join(methods)}", partial(_train, methods))


def _train(methods: Sequence[str], folder: Path) -> None:
    options = Options(
        methods=list(methods),
        model="testbed:teacher",
        layer=1,
        run=run_options({"data": "testbed"}),
        max_act_from="train",
        batch_size=32,
        device="cpu",
        dtype="float32",
        out=folder,
    )
    train(options)
