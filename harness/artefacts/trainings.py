"""What trainings share: processes that take turns, one training a folder, an order of rows."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from harness.artefacts.making import making

MEGABATCH = 20
"""Batches whose rows are sorted by length together."""


def in_charge() -> bool:
    """Whether this process writes."""
    return int(os.environ.get("RANK", "0")) == 0


def launched() -> bool:
    """Whether ``accelerate launch`` or ``torchrun`` started several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def settle() -> None:
    """Wait until all processes have come this far."""
    if launched():
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def alone(out: Path, what: str, stays: Callable[[], str]) -> Iterator[None]:
    """``making``; of several processes the one in charge sees to it.

    Raises:
        HarnessError: The folder cannot be written, or another process makes it or has just made it.
    """
    with making(out, what, stays) if in_charge() else nullcontext():
        yield


@contextmanager
def without_bars() -> Iterator[None]:
    """Without transformers' bars of its own, one for each file that it reads or writes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def order(lengths: Sequence[int], batch: int, seed: str) -> list[int]:
    """A random order of rows in which each batch has rows of like length.

    Rows are shuffled, sorted by length within ``MEGABATCH`` batches, and these batches shuffled.
    The batch with the longest row comes first, so that memory runs out at once or never; an
    incomplete batch comes last.

    Args:
        lengths: Tokens of each row.
        batch: Rows a batch.
        seed: Tells this order from others.
    """
    rng = random.Random(seed)
    places = list(range(len(lengths)))
    rng.shuffle(places)
    whole, rest = len(places) // batch * batch, len(places) % batch
    batches: list[list[int]] = []
    for megabatch in _portions(places[:whole], MEGABATCH * batch):
        ordered = sorted(megabatch, key=lambda place: -lengths[place])
        batches += _portions(ordered, batch)
    rng.shuffle(batches)
    if batches:
        longest = max(range(len(batches)), key=lambda k: max(lengths[p] for p in batches[k]))
        batches.insert(0, batches.pop(longest))
    last = sorted(places[whole:], key=lambda place: -lengths[place]) if rest else []
    return [place for part in [*batches, last] for place in part]


def _portions(places: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(places), size):
        yield list(places[start : start + size])
