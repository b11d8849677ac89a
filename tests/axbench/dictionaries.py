"""Dictionaries of the testbed's teacher, for tests of engines."""

from __future__ import annotations

from pathlib import Path

from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train


def trained(folder: Path, *methods: str) -> Path:
    """A dictionary of block 1, with these methods."""
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
    return train(options).folder
